"""Roles and where their data come from."""

import pytest

from replication.data.sources import Source, Sources, cache_folder
from replication.errors import DataError

TIER = dict.fromkeys(("voc", "coco", "cityscapes", "imagenet"), "embedded:smoke")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_a_fingerprint_needs_no_data_made(cache):
    sources = Sources.of(TIER, {})
    one, two = sources.fingerprint("voc", "val"), sources.fingerprint("voc", "train")
    assert one != two and one == Sources.of(TIER, {}).fingerprint("voc", "val")
    assert not cache.exists()


def test_generated_sets_open_through_the_real_readers(cache):
    sources = Sources.of(TIER, {})
    assert cache_folder() == cache
    assert len(sources.segmentation("voc", "val")) == 8
    assert len(sources.segmentation("cityscapes", "val").classes) == 19
    assert sources.classification("train").images.shape == (48, 49, 49, 3)


def test_coco_speaks_vocs_classes(cache):
    sources = Sources.of(TIER, {})
    voc, coco = sources.segmentation("voc", "train"), sources.segmentation("coco", "train")
    assert coco.classes == voc.classes
    assert coco.labels[coco.labels != 255].max() < len(voc.classes)


def test_users_data_take_the_place_of_the_tiers(tmp_path):
    sources = Sources.of(TIER, {"voc": str(tmp_path)})
    assert sources.by_role["voc"].at == str(tmp_path)
    assert sources.by_role["coco"].at == "embedded:smoke"


def test_what_is_missing_is_said():
    sources = Sources.of({}, {})
    assert sources.fingerprint("voc", "val") == "missing"
    with pytest.raises(DataError, match="no data for the role voc; give --data voc=PATH"):
        sources.segmentation("voc", "val")
    with pytest.raises(DataError, match="no such recipe; known: embedded:micro, embedded:smoke"):
        Source(role="voc", at="embedded:large")
    with pytest.raises(DataError, match="no such role"):
        Sources.of({}, {"vok": "x"})
    with pytest.raises(DataError, match="no such folder"):
        Sources.of({}, {"voc": "/no/such"}).segmentation("voc", "val")
