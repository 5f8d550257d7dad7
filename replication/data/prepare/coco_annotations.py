"""COCO's instance annotations: an instances_*.json read once, compactly, and checked.

The format: https://cocodataset.org/#format-data. Ids, names and the 80 categories are those of
instances_train2014.json to instances_val2017.json, which agree.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

from replication.data.prepare.command import raise_problems
from replication.errors import DataError

LARGEST_SIDE = 65_535  # what a JPEG can have

# Category ids run from 1 to 90, with ten left out that were never annotated.
COCO_CATEGORIES: Mapping[int, str] = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train",
    8: "truck", 9: "boat", 10: "traffic light", 11: "fire hydrant", 13: "stop sign",
    14: "parking meter", 15: "bench", 16: "bird", 17: "cat", 18: "dog", 19: "horse", 20: "sheep",
    21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe", 27: "backpack",
    28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove",
    41: "skateboard", 42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass",
    47: "cup", 48: "fork", 49: "knife", 50: "spoon", 51: "bowl", 52: "banana", 53: "apple",
    54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot", 58: "hot dog", 59: "pizza",
    60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote",
    76: "keyboard", 77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink",
    82: "refrigerator", 84: "book", 85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear",
    89: "hair drier", 90: "toothbrush",
}  # fmt: skip

# A polygon's x, y, x, y, …; the run lengths of an RLE by columns, background first.
Polygons: TypeAlias = "tuple[array[float], ...]"
Runs: TypeAlias = "array[int]"


@dataclass(frozen=True, kw_only=True)
class Region:
    """One annotation: an object, or a crowd of objects that nobody told apart."""

    id: int
    category: int
    crowd: bool
    outline: Polygons | Runs


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image and its regions, in the file's order."""

    id: int
    file_name: str
    height: int
    width: int
    regions: tuple[Region, ...]

    @property
    def name(self) -> str:
        """The id in 12 digits: the stem of COCO 2017's file names, and unique over 2014's too."""
        return f"{self.id:012}"


def read_pictures(content: bytes, source: str) -> dict[int, Picture]:
    """The pictures of an instances file by image id; `source` names it in messages.

    Raises DataError for what is not such a file: not JSON, other categories than COCO's 80, an
    annotation of an image that is not listed, an outline that cannot be drawn in its image.
    """
    document = _document(content, source)
    _check_categories(_list(document, "categories", source), source)
    problems: list[str] = []
    images: dict[int, dict[str, Any]] = {}
    for image in _list(document, "images", source):
        if problem := _image_problem(image, images):
            problems.append(f"{source}: {problem}")
        else:
            images[image["id"]] = image
    raise_problems(problems)

    regions: dict[int, list[Region]] = {id_: [] for id_ in images}
    seen: set[int] = set()
    for fields in _list(document, "annotations", source):
        try:
            region = _region(fields, images)
            if region.id in seen:
                raise ValueError("its id occurs twice")
            seen.add(region.id)
            regions[fields["image_id"]].append(region)
        except ValueError as error:
            id_ = fields.get("id") if isinstance(fields, dict) else None
            problems.append(f"{source}: annotation {id_}: {error}")
    raise_problems(problems)
    return {
        id_: Picture(
            id=id_,
            file_name=image["file_name"],
            height=image["height"],
            width=image["width"],
            regions=tuple(regions[id_]),
        )
        for id_, image in images.items()
    }


def read_image_ids(content: bytes, source: str) -> frozenset[int]:
    """The image ids alone of a COCO file."""
    images = _list(_document(content, source), "images", source)
    ids = [image.get("id") if isinstance(image, dict) else None for image in images]
    if not all(_is_int(id_) for id_ in ids):
        raise DataError(f"{source}: images: each needs a whole number `id`")
    return frozenset(id_ for id_ in ids if id_ is not None)


def _document(content: bytes, source: str) -> dict[str, Any]:
    try:
        document = json.loads(content, object_hook=_compact)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: not JSON ({error}); get the file again") from None
    if not isinstance(document, dict):
        raise DataError(f"{source}: not a COCO file (no object with `images` at the top)")
    return document


def _compact(fields: dict[str, Any]) -> dict[str, Any]:
    """Shrink one annotation while the file is still being parsed.

    As lists of Python floats the outlines of train2017 take gigabytes; as arrays a quarter of it.
    """
    if "segmentation" not in fields:
        return fields
    outline = fields["segmentation"]
    if isinstance(outline, list):
        outline = tuple(_numbers("d", one) for one in outline)
    elif isinstance(outline, dict) and isinstance(outline.get("counts"), list):
        outline = {**outline, "counts": _numbers("q", outline["counts"])}
    kept = {key: fields.get(key) for key in ("id", "image_id", "category_id", "iscrowd")}
    return {**kept, "segmentation": outline}


def _numbers(kind: str, values: Any) -> Any:
    """The values as an array, or as they are: then `_region` says what is wrong with them."""
    try:
        return array(kind, values) if isinstance(values, list) else values
    except (TypeError, OverflowError):
        return values


def _list(document: Mapping[str, Any], key: str, source: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise DataError(
            f"{source}: no list `{key}`; give an instances file of COCO, e.g. "
            "instances_train2017.json"
        )
    return value


def _check_categories(categories: Sequence[Any], source: str) -> None:
    named = {}
    for category in categories:
        if not isinstance(category, dict) or not _is_int(category.get("id")):
            raise DataError(f"{source}: categories: each needs a whole number `id` and a `name`")
        named[category["id"]] = category.get("name")
    wrong = [
        f"id {id_} is {named[id_]!r}, must be {name!r}" if id_ in named else f"no id {id_} ({name})"
        for id_, name in COCO_CATEGORIES.items()
        if named.get(id_) != name
    ]
    wrong += [
        f"id {id_} ({name!r}) is not COCO's"
        for id_, name in named.items()
        if id_ not in COCO_CATEGORIES
    ]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(f"{source}: categories are not COCO's 80: {wrong[0]}{more}")


def _image_problem(image: Any, before: Mapping[int, Any]) -> str:
    if not isinstance(image, dict) or not _is_int(image.get("id")) or image["id"] < 0:
        return "images: each needs a whole number `id`"
    if image["id"] in before:
        return f"image {image['id']}: listed twice"
    for side in ("height", "width"):
        if not _is_int(image.get(side)) or not 1 <= image[side] <= LARGEST_SIDE:
            return f"image {image['id']}: {side} {image.get(side)!r}; must be 1 to {LARGEST_SIDE:,}"
    name = image.get("file_name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or name[0] == ".":
        return f"image {image['id']}: file_name {name!r}; must be a plain file name"
    if PurePath(name).suffix.lower() not in (".jpg", ".jpeg"):
        return f"image {image['id']}: file_name {name!r}; must be a .jpg"
    return ""


def _region(fields: Any, images: Mapping[int, Mapping[str, Any]]) -> Region:
    """One annotation checked against its image. Raises ValueError saying what is wrong."""
    if not isinstance(fields, dict) or "segmentation" not in fields:
        raise ValueError("no `segmentation`")
    if not _is_int(fields["id"]):
        raise ValueError("`id` must be a whole number")
    image = images.get(fields["image_id"]) if _is_int(fields["image_id"]) else None
    if image is None:
        raise ValueError(f"image_id {fields['image_id']!r} is not among the images")
    if not _is_int(fields["category_id"]) or fields["category_id"] not in COCO_CATEGORIES:
        raise ValueError(f"category_id {fields['category_id']!r} is not one of COCO's 80")
    if fields["iscrowd"] not in (0, 1):
        raise ValueError(f"iscrowd {fields['iscrowd']!r}; must be 0 or 1")
    return Region(
        id=fields["id"],
        category=fields["category_id"],
        crowd=bool(fields["iscrowd"]),
        outline=_outline(fields["segmentation"], image["height"], image["width"]),
    )


def _outline(segmentation: Any, height: int, width: int) -> Polygons | Runs:
    if isinstance(segmentation, tuple):
        for polygon in segmentation:
            if not isinstance(polygon, array) or len(polygon) % 2:
                raise ValueError("a polygon must be a list of numbers x, y, x, y, …")
            # Far outside, the corners of another image; and the rasteriser walks every pixel.
            beyond = max(height, width)
            if not all(-beyond <= value <= 2 * beyond for value in polygon):
                raise ValueError(f"a polygon reaches outside its {width}x{height} image")
        return segmentation
    if not isinstance(segmentation, dict):
        raise ValueError("`segmentation` must be a list of polygons or an RLE")
    if segmentation.get("size") != [height, width]:
        raise ValueError(f"RLE of size {segmentation.get('size')}, its image is {[height, width]}")
    counts = segmentation.get("counts")
    runs = array("q", _decompressed(counts)) if isinstance(counts, str) else counts
    # pycocotools fills what a short RLE leaves open with whatever is in memory.
    if not isinstance(runs, array) or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"RLE counts must be whole numbers that add up to {height * width}")
    return runs


def _decompressed(counts: str) -> Iterator[int]:
    """The run lengths of a compressed RLE.

    Six bits a character from "0" on: five of the number, lowest first, and whether it goes on. From
    the fourth on, what is coded is the difference to the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("compressed RLE counts are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the sign
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed RLE counts are damaged")
    yield from runs


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
