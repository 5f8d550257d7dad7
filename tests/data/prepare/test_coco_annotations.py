"""COCO's instances files: a real-format one, compressed runs, and every way they can be wrong."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from coco_samples import CATEGORIES, H, W, annotation, box, compressed, document, encoded, runs
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from replication.data.prepare.coco_annotations import (
    COCO_CATEGORIES,
    read_image_ids,
    read_pictures,
)
from replication.errors import DataError

SAMPLE = Path(__file__).resolve().parents[4] / "shared/data/coco-sample/instances.json"


def read(document):
    return read_pictures(encoded(document), "instances.json")


def refused(content):
    with pytest.raises(DataError) as caught:
        read_pictures(content, "instances.json")
    return str(caught.value).splitlines()


@pytest.fixture
def sample():
    if not SAMPLE.is_file():
        pytest.skip("no COCO sample beside this checkout")
    return json.loads(SAMPLE.read_text())


def test_the_categories_are_torchvisions_too():
    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    theirs = {i: name for i, name in enumerate(names) if name not in ("__background__", "N/A")}
    assert theirs == COCO_CATEGORIES and len(theirs) == 80


def test_a_real_instances_file(sample):
    pictures = read({**sample, "categories": CATEGORIES})
    assert {id_: (p.height, p.width, p.name) for id_, p in pictures.items()} == {
        1: (512, 512, "000000000001"),
        2: (500, 500, "000000000002"),
    }
    for fields in sample["annotations"]:
        (region,) = pictures[fields["image_id"]].regions
        assert (region.id, region.category) == (fields["id"], fields["category_id"])
        assert not region.crowd
        assert [one.tolist() for one in region.outline] == fields["segmentation"]


def test_a_file_without_categories_is_refused(sample):
    (line,) = refused(json.dumps(sample).encode())
    assert "instances.json: no list `categories`" in line


@pytest.mark.parametrize("seed", range(6))
def test_compressed_runs_are_those_that_pycocotools_compressed(seed):
    random = np.random.default_rng(seed)
    if seed % 2:  # noise has short runs, blobs long ones
        mask = random.random((H, W)) < random.random()
    else:
        mask = np.kron(random.random((6, 8)) < 0.4, np.ones((10, 10))) > 0
    pair = [annotation("dog", compressed(mask)), annotation("dog", runs(mask))]
    one, two = read(document({7: pair}))[7].regions
    assert one.outline == two.outline and sum(one.outline) == H * W


def test_long_compressed_runs_and_a_mask_that_begins_with_an_object():
    mask = np.ones((2_000, 3_000), dtype=np.uint8)
    mask[1_500:, 2_999] = 0
    (region,) = read(document({7: [annotation("cat", compressed(mask))]}, "", 2_000, 3_000))[
        7
    ].regions
    assert region.outline.tolist() == [0, 2_999 * 2_000 + 1_500, 500]


def test_image_ids_alone():
    assert read_image_ids(encoded(document({3: [], 5: []})), "x") == {3, 5}
    with pytest.raises(DataError, match="x: no list `images`"):
        read_image_ids(b"{}", "x")
    with pytest.raises(DataError, match="x: images: each needs a whole number `id`"):
        read_image_ids(b'{"images": [{"id": "3"}]}', "x")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"images": [', "instances.json: not JSON"),
        (b"\xff\xfe\xfa", "instances.json: not JSON"),
        (b"[1, 2]", "instances.json: not a COCO file"),
        (b"[" * 200_000, "instances.json: not JSON"),
        (b'{"categories": 3}', "no list `categories`"),
        (encoded({"categories": CATEGORIES}), "no list `images`"),
        (encoded({"categories": CATEGORIES, "images": []}), "no list `annotations`"),
    ],
)
def test_what_is_no_instances_file_is_refused_in_a_line(content, says):
    (line,) = refused(content)
    assert says in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c[4].update(name="aeroplane"), "id 5 is 'aeroplane', must be 'airplane'"),
        (lambda c: c.pop(), "no id 90 (toothbrush)"),
        (lambda c: c.append({"id": 12, "name": "street sign"}), "id 12 ('street sign') is not"),
        (lambda c: c[0].pop("name"), "id 1 is None, must be 'person'"),
        (lambda c: c[0].pop("id"), "each needs a whole number `id`"),
        (lambda c: c[0].update(id=[1]), "each needs a whole number `id`"),
        (lambda c: c.insert(0, "person"), "each needs a whole number `id`"),
    ],
)
def test_other_categories_are_refused_by_name(change, says):
    categories = copy.deepcopy(CATEGORIES)
    change(categories)
    (line,) = refused(encoded({**document({7: []}), "categories": categories}))
    assert line.startswith("instances.json: categories") and says in line


def test_contiguous_ids_as_others_number_them_are_refused():
    """Some files number the 80 categories 1 to 80: then 12 would be `stop sign`."""
    numbered = [{"id": i, "name": c["name"]} for i, c in enumerate(CATEGORIES, 1)]
    (line,) = refused(encoded({**document({7: []}), "categories": numbered}))
    assert "id 13 is 'parking meter', must be 'stop sign'" in line and "more" in line


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"image_id": 8}, "image_id 8 is not among the images"),
        ({"image_id": None}, "image_id None is not among the images"),
        ({"category_id": 12}, "category_id 12 is not one of COCO's 80"),
        ({"category_id": [1]}, "category_id [1] is not one of COCO's 80"),
        ({"iscrowd": 2}, "iscrowd 2; must be 0 or 1"),
        ({"iscrowd": None}, "iscrowd None; must be 0 or 1"),
        ({"id": "a"}, "`id` must be a whole number"),
        ({"segmentation": 3}, "must be a list of polygons or an RLE"),
        ({"segmentation": [3]}, "a polygon must be a list of numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "a polygon must be a list of numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "a polygon must be a list of numbers"),
        ({"segmentation": [box(0, 0, 500, 5)]}, f"reaches outside its {W}x{H} image"),
        ({"segmentation": [[float("nan")] * 6]}, "reaches outside"),
        ({"segmentation": {"size": [W, H], "counts": [W * H]}}, f"its image is [{H}, {W}]"),
        ({"segmentation": {"size": [H, W]}}, f"add up to {H * W}"),
        ({"segmentation": {"size": [H, W], "counts": [3]}}, f"add up to {H * W}"),
        ({"segmentation": {"size": [H, W], "counts": []}}, f"add up to {H * W}"),
        ({"segmentation": {"size": [H, W], "counts": [-1, W * H + 1]}}, f"add up to {H * W}"),
        ({"segmentation": {"size": [H, W], "counts": [0.5, W * H - 0.5]}}, f"add up to {H * W}"),
        ({"segmentation": {"size": [H, W], "counts": "32"}}, f"add up to {H * W}"),
        ({"segmentation": {"size": [H, W], "counts": "3o"}}, "compressed RLE counts are damaged"),
        ({"segmentation": {"size": [H, W], "counts": "3é"}}, "compressed RLE counts are damaged"),
        ({"segmentation": {"size": [H, W], "counts": "o" * 40}}, "counts are damaged"),
    ],
)  # fmt: skip
def test_a_wrong_annotation_is_named_in_a_line(fields, says):
    wrong = document({7: [annotation("dog", [box(0, 0, 5, 5)])]})
    wrong["annotations"][0].update(fields)
    (line,) = refused(encoded(wrong))
    assert line.startswith(f"instances.json: annotation {fields.get('id', 100)}: ")
    assert says in line


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": None}, "images: each needs a whole number `id`"),
        ({"height": 0}, "image 7: height 0; must be 1 to 65,535"),
        ({"width": "80"}, "image 7: width '80'"),
        ({"file_name": None}, "image 7: file_name None"),
        ({"file_name": "../7.jpg"}, "image 7: file_name '../7.jpg'; must be a plain file name"),
        ({"file_name": "7.png"}, "image 7: file_name '7.png'; must be a .jpg"),
    ],
)
def test_a_wrong_image_is_named_in_a_line(fields, says):
    wrong = document({7: []})
    wrong["images"][0].update(fields)
    (line,) = refused(encoded(wrong))
    assert line.startswith("instances.json: ") and says in line


def test_the_same_id_twice_is_refused():
    twice = document({7: [], 8: []})
    twice["images"][1]["id"] = 7
    assert refused(encoded(twice)) == ["instances.json: image 7: listed twice"]
    dog = annotation("dog", [])
    twice = document({7: [{**dog, "id": 5}, {**dog, "id": 5}]})
    assert refused(encoded(twice)) == ["instances.json: annotation 5: its id occurs twice"]


def test_all_problems_are_listed_up_to_a_screenful():
    many = document({7: [annotation("dog", 3) for _ in range(30)]})
    lines = refused(encoded(many))
    assert len(lines) == 21 and lines[-1] == "and 10 more problems"
