"""Cityscapes' label table and the conversion of masks, against the official ones."""

import json

import numpy as np
import pytest
from cityscapesscripts.helpers import labels as official
from PIL import Image
from rich.console import Console

from replication.data import layouts
from replication.data.cityscapes_labels import LABELS, to_label_ids, to_train_ids
from replication.data.prepare import cityscapes
from replication.errors import DataError
from tests.conftest import SHARED

QUIET = Console(quiet=True)


def read(path):
    with Image.open(path) as file:
        assert file.mode == "L"
        return np.array(file)


def test_labels_are_the_official_ones():
    assert [(one.id, one.name, one.train_id) for one in LABELS] == [
        (one.id, one.name, one.trainId) for one in official.labels
    ]
    named = sorted((one.train_id, one.name) for one in LABELS if 0 <= one.train_id < 255)
    assert tuple(name for _, name in named) == layouts.CITYSCAPES_CLASSES


def test_label_ids_and_back():
    every = np.arange(34, dtype=np.uint8)
    train_ids = to_train_ids(every)
    assert train_ids.tolist() == [official.id2label[value].trainId for value in every]
    back = to_label_ids(np.array([*range(19), 255], dtype=np.uint8))
    assert back.tolist() == [official.trainId2label[value].id for value in (*range(19), 255)]
    assert np.array_equal(to_train_ids(back)[:19], np.arange(19))


def test_values_that_no_table_has_are_refused():
    with pytest.raises(DataError, match="value 34 is not a label id; allowed are 0 to 33"):
        to_train_ids(np.array([7, 34], dtype=np.uint8))
    with pytest.raises(DataError, match="value 19 is not a train id; allowed are 0 to 18 and 255"):
        to_label_ids(np.array([255, 19, 3], dtype=np.uint8))
    with pytest.raises(DataError, match="type int64; a train id is an uint8"):
        to_label_ids(np.array([3]))


def test_a_real_frame_converts_to_its_train_ids(tmp_path):
    """The frame's two masks were scaled down apart: 77 of 32,768 pixels, along borders, have train
    ids that no table gives, since one label id then has several. On all others they are ours.
    """
    sample = SHARED / "data/cityscapes-sample/gtFine"
    if not sample.is_dir():
        pytest.skip("no real Cityscapes frame beside this checkout")
    folder = tmp_path / "gtFine/val"
    name = "frankfurt_000000_000294_gtFine_labelIds.png"
    (folder / "frankfurt").mkdir(parents=True)
    (folder / "frankfurt" / name).write_bytes((sample / name).read_bytes())
    assert cityscapes.convert(folder, QUIET) == 1
    label_ids = read(sample / name)
    name = name.replace("labelIds", "labelTrainIds")
    ours, theirs = read(folder / "frankfurt" / name), read(sample / name)
    assert ours.shape == theirs.shape == (128, 256)
    for value in np.unique(label_ids):
        here = label_ids == value
        assert (ours[here] == np.bincount(theirs[here]).argmax()).all()
    assert (ours != theirs).sum() == 77


def test_conversion_equals_drawing_the_polygons_in_train_ids(tmp_path):
    """The official tool draws both masks from the polygons; ours turns one into the other."""
    from cityscapesscripts.preparation.json2labelImg import json2labelImg

    random = np.random.default_rng(3)
    objects = [
        {"label": one.name, "polygon": random.integers(0, (64, 48), (5, 2)).tolist()}
        for one in official.labels
    ]
    city = tmp_path / "gtFine/train/aachen"
    city.mkdir(parents=True)
    polygons = city / "aachen_000000_000019_gtFine_polygons.json"
    polygons.write_text(json.dumps({"imgWidth": 64, "imgHeight": 48, "objects": objects}))
    drawn = city / "aachen_000000_000019_gtFine_labelIds.png"
    json2labelImg(str(polygons), str(drawn), "ids")
    json2labelImg(str(polygons), str(tmp_path / "expected.png"), "trainIds")
    cityscapes.convert(tmp_path / "gtFine/train", QUIET)
    expected = read(tmp_path / "expected.png")
    assert len(np.unique(expected)) > 5
    assert np.array_equal(read(str(drawn).replace("labelIds", "labelTrainIds")), expected)


# From zip files, and from folders.
