"""Listings and the decoded cache: real and made files, and every way a set can be broken."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from replication.data import cache, layouts, reading
from replication.errors import DataError


def make_voc(root, ids=("a", "b", "c"), size=(20, 14)):
    """A VOC 2012 tree; returns the VOCdevkit folder."""
    home = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    for id_ in ids:
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(home / "JPEGImages" / f"{id_}.jpg")
        mask = random.choice([0, 1, 15, 255], (size[1], size[0])).astype(np.uint8)
        write_mask(home / "SegmentationClass" / f"{id_}.png", mask)
    (home / "ImageSets/Segmentation/train.txt").write_text("\n".join(ids) + "\n")
    return root / "VOCdevkit"


def write_mask(path, values):
    image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode=None).convert("P")
    image.putdata(np.asarray(values, dtype=np.uint8).ravel().tolist())
    image.save(path)


def decode(root, tmp_path, split="train", **options):
    return cache.decode(layouts.listing("voc", root, split, **options), tmp_path / "cache")


def test_what_is_read_is_what_was_written(tmp_path):
    data = decode(make_voc(tmp_path), tmp_path)
    assert data.ids == ("a", "b", "c") and len(data.classes) == 21
    assert data.image(1).shape == (14, 20, 3) and data.uniform
    with Image.open(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/b.png") as file:
        assert np.array_equal(np.array(file), data.mask(1))
    with Image.open(tmp_path / "VOCdevkit/VOC2012/JPEGImages/b.jpg") as file:
        assert np.array_equal(np.array(file), data.image(1))


def test_a_second_reading_maps_the_first(tmp_path):
    root = make_voc(tmp_path)
    decode(root, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")}
    decode(root, tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")}


def test_a_changed_file_is_read_again(tmp_path):
    root = make_voc(tmp_path)
    decode(root, tmp_path)
    write_mask(root / "VOC2012/SegmentationClass/a.png", np.full((14, 20), 7))
    assert (decode(root, tmp_path).mask(0) == 7).all()


def test_classes_of_another_set_are_found_by_name_and_others_are_background(tmp_path):
    root = make_voc(tmp_path)
    (root / "VOC2012/classes.txt").write_text("background\nzebra\nperson\n")
    write_mask(root / "VOC2012/SegmentationClass/a.png", np.tile([0, 1, 2, 255], (14, 5)))
    for id_ in "bc":
        write_mask(root / f"VOC2012/SegmentationClass/{id_}.png", np.zeros((14, 20)))
    data = decode(root, tmp_path, classes=layouts.VOC_CLASSES)
    assert data.mask(0)[0, :4].tolist() == [0, 0, 15, 255]
    assert list(data.with_any(["person"])) == [0]
    with pytest.raises(DataError, match="no class 'zebra'"):
        data.with_any(["zebra"])


def break_image(home):
    path = home / "JPEGImages/b.jpg"
    path.write_bytes(path.read_bytes()[:200])
    return ["b.jpg: cannot be read"]


def lose_image(home):
    (home / "JPEGImages/b.jpg").unlink()
    return ["b.jpg: missing"]


def lose_mask(home):
    (home / "SegmentationClass/b.png").unlink()
    return ["b.png: missing"]


def resize_mask(home):
    write_mask(home / "SegmentationClass/b.png", np.zeros((9, 9)))
    return ["b.png: the mask is 9x9, its image", "is 20x14"]


def stray_value(home):
    write_mask(home / "SegmentationClass/b.png", np.full((14, 20), 21))
    return ["b.png: value 21; allowed are 0 to 20 and 255"]


def colour_mask(home):
    Image.new("RGB", (20, 14)).save(home / "SegmentationClass/b.png")
    return ["b.png: mode RGB; a mask must be"]


def truncate_mask(home):
    path = home / "SegmentationClass/b.png"
    path.write_bytes(path.read_bytes()[:60])
    return ["b.png: cannot be read"]


def no_image_at_all(home):
    (home / "JPEGImages/b.jpg").write_text("not a picture")
    return ["b.jpg: cannot be read"]


@pytest.mark.parametrize(
    "damage",
    [
        break_image, lose_image, lose_mask, resize_mask, stray_value, colour_mask, truncate_mask,
        no_image_at_all,
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_in_one_line(tmp_path, damage):
    root = make_voc(tmp_path)
    expected = damage(root / "VOC2012")
    with pytest.raises(DataError) as caught:
        decode(root, tmp_path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for part in expected:
        assert part in text
    assert not list((tmp_path / "cache").rglob("*.npy")), "nothing half-made is left"


def test_all_problems_are_listed_at_once(tmp_path):
    root = make_voc(tmp_path)
    (root / "VOC2012/JPEGImages/a.jpg").unlink()
    stray_value(root / "VOC2012")
    with pytest.raises(DataError) as caught:
        decode(root, tmp_path)
    assert ["a.jpg" in str(caught.value), "b.png" in str(caught.value)] == [True, True]


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(DataError, match=r"vall\.txt: no such split; the set has: train"):
        layouts.listing("voc", make_voc(tmp_path), "vall")


def test_a_folder_without_voc_says_what_to_give(tmp_path):
    with pytest.raises(DataError, match="give the VOCdevkit folder"):
        layouts.listing("voc", tmp_path, "train")


def test_vocs_own_mask_wins_over_sbds(tmp_path):
    home = make_voc(tmp_path) / "VOC2012"
    (home / "SegmentationClassAug").mkdir()
    for id_ in ("a", "d"):
        write_mask(home / f"SegmentationClassAug/{id_}.png", np.zeros((14, 20)))
    (home / "ImageSets/Segmentation/trainaug.txt").write_text("a\nd\n")
    listing = layouts.listing("voc", home.parent, "trainaug")
    assert [mask.parent.name for mask in listing.masks] == [
        "SegmentationClass",
        "SegmentationClassAug",
    ]


def test_fingerprint_is_of_the_content_not_of_the_place(tmp_path):
    one, two = make_voc(tmp_path / "one"), make_voc(tmp_path / "two")
    prints = [layouts.listing("voc", root, "train").fingerprint() for root in (one, two)]
    assert prints[0] == prints[1]
    (two / "VOC2012/ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    assert layouts.listing("voc", two, "train").fingerprint() != prints[0]


def test_real_photographs_histogram(real_voc, tmp_path):
    """Every real picture and mask read; the class histogram equals one counted file by file."""
    data = decode(real_voc, tmp_path, "trainaug+val")
    assert len(data) == 540 + 223
    counted = np.zeros(256, dtype=np.int64)
    for i, id_ in enumerate(data.ids):
        official = real_voc / f"VOC2012/SegmentationClass/{id_}.png"
        extra = real_voc / f"VOC2012/SegmentationClassAug/{id_}.png"
        with Image.open(official if official.is_file() else extra) as file:
            for value, count in enumerate(file.histogram()[:256]):
                counted[value] += count
        with Image.open(real_voc / f"VOC2012/JPEGImages/{id_}.jpg") as file:
            assert (data.sizes[i] == file.size[::-1]).all()
    assert np.array_equal(np.bincount(data.labels, minlength=256), counted)


def test_without_a_cache_the_same_pictures_come_from_their_files(tmp_path):
    root = make_voc(tmp_path)
    listing = layouts.listing("voc", root, "train")
    files = cache.undecoded(listing, tmp_path / "plain")
    mapped = cache.decode(listing, tmp_path / "cache")
    assert np.array_equal(files.sizes, mapped.sizes) and files.ids == mapped.ids
    for i in range(len(files)):
        assert np.array_equal(files.image(i), mapped.image(i))
        assert np.array_equal(files.mask(i), mapped.mask(i))
    assert list(files.with_any(["person"])) == list(mapped.with_any(["person"])) != []
    # A sign that the files were checked is all that is kept.
    kept = [p for p in (tmp_path / "plain").rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert sum(p.stat().st_size for p in kept) < 1000


def test_without_a_cache_every_problem_is_named_all_the_same(tmp_path):
    root = make_voc(tmp_path)
    (root / "VOC2012/JPEGImages/a.jpg").unlink()
    write_mask(root / "VOC2012/SegmentationClass/c.png", np.full((14, 20), 77))
    with pytest.raises(DataError) as problem:
        cache.undecoded(layouts.listing("voc", root, "train"), tmp_path / "cache")
    first, second = str(problem.value).splitlines()
    assert "a.jpg: missing" in first and "c.png: value 77" in second


def test_a_split_to_be_predicted_needs_no_masks(tmp_path):
    root = make_voc(tmp_path)
    for mask in (root / "VOC2012/SegmentationClass").iterdir():
        mask.unlink()
    listing = layouts.listing("voc", root, "train", labelled=False)
    for data in (
        cache.decode(listing, tmp_path / "cache"),
        cache.undecoded(listing, tmp_path / "cache"),
    ):
        assert not data.labelled and data.image(0).shape == (14, 20, 3)
        assert (data.mask(0) == 255).all() and data.mask(0).shape == (14, 20)


def test_the_size_is_said_before_anything_is_decoded(tmp_path):
    listing = layouts.listing("voc", make_voc(tmp_path, size=(500, 400)), "train")
    said = []
    cache.decode(listing, tmp_path / "cache", announce=said.append)
    assert said[0].startswith("3 pictures, 2.4 MB decoded, in ") and len(said) == 1
    assert reading.decoded_bytes(listing) == 3 * 500 * 400 * 4
    cache.decode(listing, tmp_path / "cache", announce=said.append)
    assert len(said) == 1  # already there


def test_a_split_that_does_not_fit_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    listing = layouts.listing("voc", make_voc(tmp_path), "train")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match="--no-cache to read the files"):
        cache.decode(listing, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))
