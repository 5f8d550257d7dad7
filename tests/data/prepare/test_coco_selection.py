"""Trainval minus minival, from either year; lists; and files that do not belong together."""

import json

import pytest
from coco_samples import (
    MINIVAL,
    contents,
    document,
    encoded,
    make,
    members_2014,
    members_2017,
    refused,
    release,
    zips,
)

from replication.errors import DataError


@pytest.fixture
def archives(tmp_path):
    return zips(tmp_path / "zips", members_2017())


@pytest.fixture
def made(tmp_path, archives):
    """A finished set in tmp_path/data."""
    assert make(tmp_path / "data", archives, release())[0]
    return tmp_path / "data"


def test_2014_makes_the_same_set(made, tmp_path):
    archives = zips(tmp_path / "2014", members_2014())
    minival = tmp_path / "instances_minival2014.json"
    minival.write_bytes(encoded(document(MINIVAL, "COCO_val2014_")))
    root = tmp_path / "other"
    right, said = make(root, archives, release("2014"), minival=minival)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert right and {
        "train2014 5 of 5", "val2014 6 of 6", "of minival, left out 2 of 2",
        "trainval minus minival 9 of 9",
    } <= set(lines)  # fmt: skip
    assert contents(root / "coco") == contents(made / "coco")


def test_2014_takes_minival_from_2017s_archive(made, tmp_path):
    archives = zips(tmp_path / "2014", members_2014())
    annotations = tmp_path / "zips" / "annotations_trainval2017.zip"
    right, _ = make(tmp_path / "other", [*archives, annotations], release("2014"))
    assert right and contents(tmp_path / "other/coco") == contents(made / "coco")


def test_a_list_makes_a_smaller_set(tmp_path, archives):
    ids = tmp_path / "ids.txt"
    ids.write_text("36\nCOCO_val2014_000000000025.jpg\n000000000042\n")
    right, said = make(tmp_path / "data", archives, release(), ids_file=ids)
    assert right and any(" ".join(x.split()) == "of the list 3" for x in said.splitlines())
    listed = (tmp_path / "data/coco/ImageSets/Segmentation/train.txt").read_text()
    assert listed.split() == [f"{25:012}", f"{36:012}"]
    # With the list it is that set; without it another is asked for.
    assert make(tmp_path / "data", [], release(), ids_file=ids)[0]
    with pytest.raises(DataError, match=r"holds the images of a list .* not all images of COCO"):
        make(tmp_path / "data", [], release())
    with pytest.raises(DataError, match="of COCO 2017 by rules 1, not all images of COCO 2014"):
        make(tmp_path / "data", [], release("2014"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("139", "139 is in minival, which is left out"),
        ("7", "7 is not in trainval"),
        ("2007_000032", "'2007_000032' is not an image of COCO; they look like 000000000009"),
    ],
)
def test_a_list_with_other_images_is_refused(tmp_path, archives, line, says):
    ids = tmp_path / "ids.txt"
    ids.write_text(f"25\n{line}\n")
    assert refused(tmp_path / "data", archives, release(), ids_file=ids) == [f"{ids}: {says}"]


def test_2014_refuses_a_list_that_is_not_minivals(tmp_path):
    archives = zips(tmp_path / "2014", members_2014())
    minival = tmp_path / "list.json"
    minival.write_bytes(encoded(document({139: [], 9999: []})))
    (line,) = refused(tmp_path / "data", archives, release("2014"), minival=minival)
    assert line == (f"{minival}: 1 images are not in trainval, e.g. 9999; give the list of minival")
    (line,) = refused(tmp_path / "data", archives, release("2014"), minival=tmp_path / "no.json")
    assert "no.json: cannot be read" in line


def test_2014_refuses_an_image_in_both_parts(tmp_path):
    members = members_2014()
    annotations = members["annotations_trainval2014.zip"]
    val = json.loads(annotations["annotations/instances_val2014.json"])
    val["images"][0]["id"], val["annotations"] = 9, []
    annotations["annotations/instances_val2014.json"] = encoded(val)
    (line,) = refused(tmp_path / "data", zips(tmp_path / "zips", members), release("2014"))
    assert "an image of it is in annotations/instances_train2014.json as well" in line
