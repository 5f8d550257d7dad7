"""COCO's objects as VOC masks: against pycocotools and PIL alone, and worked by hand."""

import itertools
import json
import sys

import numpy as np
import pytest
from coco_samples import (
    CATEGORIES,
    IDS,
    annotation,
    box,
    compressed,
    document,
    encoded,
    filled,
    runs,
)
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from test_coco_annotations import SAMPLE

from replication.data.layouts import VOC_CLASSES
from replication.data.prepare import coco_masks
from replication.data.prepare.coco_annotations import read_pictures
from replication.errors import DataError

# Category ids in the order of VOC's classes, as torchvision's references/segmentation/coco_utils.py
# has them.
TORCHVISION = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
PERSON, DOG = 15, 12

# The oracle's own, with NumPy 2; `coco_masks` must not let it through.
pycocotools_warns = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def painted(regions, height=6, width=8):
    (picture,) = read_pictures(encoded(document({1: regions}, "", height, width)), "x").values()
    return coco_masks.paint(coco_masks.shapes(picture), height, width)


def rows(text):
    return np.array([[int(c, 36) if c != "v" else 255 for c in row] for row in text.split()])


def in_pycocotools(document, tmp_path, capsys):
    """The same document in pycocotools' own reader."""
    (tmp_path / "instances.json").write_text(json.dumps(document))
    api = COCO(tmp_path / "instances.json")
    capsys.readouterr()
    return api


def test_the_mapping_is_torchvisions_too():
    theirs = {id_: index for index, id_ in enumerate(TORCHVISION) if index}
    assert {id_: index for id_, index in coco_masks.LABELS.items() if index} == theirs
    assert len(coco_masks.LABELS) == 80 and set(coco_masks.VOC_FROM_COCO) == set(VOC_CLASSES[1:])


@pycocotools_warns
def test_a_real_instances_file(tmp_path, capsys):
    if not SAMPLE.is_file():
        pytest.skip("no COCO sample beside this checkout")
    sample = {**json.loads(SAMPLE.read_text()), "categories": CATEGORIES}
    api = in_pycocotools(sample, tmp_path, capsys)
    pictures = read_pictures(encoded(sample), "x")
    for fields, label in zip(sample["annotations"], (PERSON, DOG), strict=True):
        picture = pictures[fields["image_id"]]
        mask = coco_masks.paint(coco_masks.shapes(picture), picture.height, picture.width)
        assert np.array_equal(mask, api.annToMask(fields) * label)
        # PIL draws the outline's pixels too: a ring of about one pixel more.
        drawn = Image.new("L", (picture.width, picture.height))
        ImageDraw.Draw(drawn).polygon(fields["segmentation"][0], fill=1)
        different = np.count_nonzero((mask > 0) != np.array(drawn))
        assert different < 0.02 * np.count_nonzero(mask)


def test_polygons_and_both_kinds_of_runs_draw_the_same():
    mask = filled(1, 2, 5, 3, 6, 8)
    by_hand = rows("00000000 00000000 0ccccc00 0ccccc00 0ccccc00 00000000")
    for segmentation in ([box(1, 2, 5, 3)], runs(mask), compressed(mask)):
        assert np.array_equal(painted([annotation("dog", segmentation)]), by_hand)


def test_two_polygons_are_one_object():
    """As one of 20 pixels they lie under the other of 12; by themselves they would not."""
    both = [box(0, 0, 5, 2), box(0, 3, 5, 2)]
    expected = rows("ffffcccc ffffcccc 0000cccc fffff000 fffff000 00000000")
    regions = [annotation("person", both), annotation("dog", [box(4, 0, 4, 3)])]
    for order in itertools.permutations(regions):
        assert np.array_equal(painted(order), expected)


def test_overlaps_go_to_the_smaller_object_in_any_order():
    regions = [
        annotation("dining table", [box(0, 0, 8, 5)]),
        annotation("person", [box(3, 0, 4, 3)]),
        annotation("bottle", [box(5, 1, 1, 3)]),
    ]
    expected = rows("bbbffffb bbbff5fb bbbff5fb bbbbb5bb bbbbbbbb 00000000")
    for order in itertools.permutations(regions):
        assert np.array_equal(painted(order), expected)


def test_of_equal_areas_the_later_wins():
    dog, cat = annotation("dog", [box(0, 0, 4, 2)]), annotation("cat", [box(2, 0, 4, 2)])
    row = {"dog first": "cc888800", "cat first": "cccc8800"}
    assert np.array_equal(painted([dog, cat])[:2], rows(f"{row['dog first']} " * 2))
    assert np.array_equal(painted([cat, dog])[:2], rows(f"{row['cat first']} " * 2))


def test_classes_outside_voc_are_background_also_where_they_cover():
    regions = [
        annotation("dining table", [box(0, 0, 8, 4)]),
        annotation("pizza", [box(1, 1, 3, 2)]),
        annotation("bed", [box(0, 0, 8, 6)]),
    ]
    expected = rows("bbbbbbbb b000bbbb b000bbbb bbbbbbbb 00000000 00000000")
    assert np.array_equal(painted(regions), expected)


def test_a_crowd_is_void_where_nothing_else_is():
    regions = [
        annotation("person", runs(filled(0, 0, 8, 3, 6, 8)), crowd=1),
        annotation("person", [box(0, 1, 8, 4)]),  # larger than the crowd, and over it
        annotation("pizza", [box(6, 0, 2, 1)]),
    ]
    expected = rows("vvvvvv00 ffffffff ffffffff ffffffff ffffffff 00000000")
    for order in itertools.permutations(regions):
        assert np.array_equal(painted(order), expected)


def test_a_crowd_of_another_class_is_background():
    crowd = annotation("banana", runs(filled(0, 0, 8, 6, 6, 8)), crowd=1)
    dog = annotation("dog", [box(0, 0, 2, 2)])
    assert painted([dog, crowd]).sum() == 4 * DOG


@pytest.mark.parametrize("segmentation", [[], [[]], [[1, 1]], [[1, 1, 5, 5]]])
def test_less_than_three_corners_enclose_nothing(segmentation):
    assert not painted([annotation("dog", segmentation)]).any()
    both = [*segmentation, box(0, 0, 2, 2)]
    assert np.count_nonzero(painted([annotation("dog", both)])) == 4


def test_no_annotations_is_background():
    assert painted([]).shape == (6, 8) and not painted([]).any()


@pycocotools_warns
def test_every_pixel_belongs_to_the_smallest_object_over_it(tmp_path, capsys):
    """Random polygons of all categories and random crowds, pixel by pixel with annToMask."""
    random = np.random.default_rng(5)
    height, width, names = 40, 56, list(IDS)
    for trial in range(12):
        regions = []
        for _ in range(random.integers(1, 9)):
            corners = random.uniform(0, (width, height), (random.integers(3, 9), 2))
            name = str(random.choice(["person", "dog", *names]))
            regions.append(annotation(name, [corners.ravel().round(2).tolist()]))
        blob = np.kron(random.random((4, 7)) < 0.3, np.ones((10, 8)))
        regions.append(annotation(str(random.choice(["person", "banana"])), runs(blob), crowd=1))
        content = document({1: regions}, "", height, width)
        api = in_pycocotools(content, tmp_path, capsys)
        masks = [api.annToMask(fields) for fields in content["annotations"]]

        expected = np.zeros((height, width), dtype=int)
        for y, x in itertools.product(range(height), range(width)):
            over = [i for i, mask in enumerate(masks) if mask[y, x]]
            objects = [i for i in over if not regions[i]["iscrowd"]]
            if objects:
                smallest = min(objects, key=lambda i: (masks[i].sum(), -i))
                category = regions[smallest]["category_id"]
                expected[y, x] = TORCHVISION.index(category) if category in TORCHVISION else 0
            elif any(regions[i]["category_id"] in TORCHVISION for i in over):
                expected[y, x] = 255
        assert np.array_equal(painted(regions, height, width), expected), f"trial {trial}"


def test_voc_pixels_leave_out_background_and_void():
    assert coco_masks.voc_pixels(np.array([[0, 1, 20], [255, 15, 0]], dtype=np.uint8)) == 3


def test_without_pycocotools_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(DataError, match=r"pip install pycocotools \(extra: coco\)") as caught:
        coco_masks.check_installed()
    assert len(str(caught.value).splitlines()) == 1
