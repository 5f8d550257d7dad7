"""How many pictures of which sizes: against the sets themselves, once they are made or read."""

import pytest

from replication.arguments import HOME
from replication.data.sources import Sources
from replication.errors import DataError
from replication.forecast import pictures
from replication.forecast.pictures import Splits
from replication.tiers import load_tier
from tests.data.test_reading import make_voc


@pytest.mark.parametrize(
    ("role", "split"),
    [
        ("voc", "trainaug"), ("voc", "trainval"), ("voc", "val"), ("coco", "train"),
        ("cityscapes", "trainval+train_extra"), ("cityscapes", "test"),
    ],
)  # fmt: skip
def test_a_generated_set_is_known_before_it_is_made(role, split, tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path))
    sources = Sources.of(load_tier("smoke", HOME / "tiers").data, {})
    foretold = Splits(sources).of(role, split)
    assert not list(tmp_path.iterdir())
    made = sources.segmentation(role, split)
    sizes = [tuple(size) for size in made.sizes.tolist()]
    assert foretold.sizes == {size: sizes.count(size) for size in set(sizes)}
    assert foretold.classes == len(made.classes) and foretold.count == len(made)
    assert foretold.pixels == sum(h * w for h, w in sizes)


def test_a_generated_classification_set(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path))
    sources = Sources.of(load_tier("smoke", HOME / "tiers").data, {})
    foretold = Splits(sources).of("imagenet", "train")
    made = sources.classification("train")
    assert foretold.sizes == {made.images.shape[1:3]: len(made.images)}
    assert foretold.classes == len(made.classes)


def test_real_files_are_read_by_their_headers(tmp_path, monkeypatch):
    root = make_voc(tmp_path)
    sources = Sources.of({}, {"voc": str(root), "coco": str(root)})
    read = sources.segmentation("voc", "train")
    sizes = [tuple(size) for size in read.sizes.tolist()]
    found = Splits(sources).of("voc", "train")
    assert found.sizes == {size: sizes.count(size) for size in set(sizes)}
    assert found.classes == 21 == Splits(sources).of("coco", "train").classes
    # Of a large set some stand for all.
    monkeypatch.setattr(pictures, "MOST_HEADERS", 1)
    assert Splits(sources).of("voc", "train").count == len(sizes)
    with pytest.raises(DataError, match="no such split"):
        Splits(sources).of("voc", "trein")


def test_the_official_sets_stand_in_for_data_that_are_not_given():
    splits = Splits(Sources.of({}, {}))
    assert splits.of("voc", "trainaug").count == 10_582 and splits.of("voc", "val").assumed
    cityscapes = splits.of("cityscapes", "trainval+train_extra")
    assert cityscapes.count == 3475 + 19_998 and cityscapes.classes == 19
    with pytest.raises(DataError, match="dev: no such split"):
        splits.of("voc", "dev")
