"""COCO's objects as a VOC mask: which class is which, and who wins where objects overlap.

Each pixel belongs to the smallest object that covers it. COCO outlines every object by itself,
and a large one's outline usually goes round what lies on or before it (a table under its plates,
a sofa behind a person), seldom the other way round. Objects of the 60 classes outside VOC take
part: where they win, the pixel is background (section 4.3: they "are all treated as background
class"). So a pizza on a table is background, not table. The paper does not say whether such
objects were left out altogether instead.

A crowd region (iscrowd) of a VOC class is void: objects that nobody told apart, roughly outlined.
It is laid under everything else, so that only pixels of no object become void. Crowds of other
classes are background like any pixel without a label.
"""

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replication.data.layouts import IGNORE_INDEX, VOC_CLASSES
from replication.data.prepare.coco_annotations import COCO_CATEGORIES, Picture, Region
from replication.errors import DataError

# VOC's 20 classes and the COCO category that is each.
VOC_FROM_COCO: Mapping[str, str] = {
    "aeroplane": "airplane",
    "bicycle": "bicycle",
    "bird": "bird",
    "boat": "boat",
    "bottle": "bottle",
    "bus": "bus",
    "car": "car",
    "cat": "cat",
    "chair": "chair",
    "cow": "cow",
    "diningtable": "dining table",
    "dog": "dog",
    "horse": "horse",
    "motorbike": "motorcycle",
    "person": "person",
    "pottedplant": "potted plant",
    "sheep": "sheep",
    "sofa": "couch",
    "train": "train",
    "tvmonitor": "tv",
}
_CLASS_OF = {coco: VOC_CLASSES.index(voc) for voc, coco in VOC_FROM_COCO.items()}
# The class index of each category id; 0, background, for the 60 outside VOC.
LABELS: Mapping[int, int] = {id_: _CLASS_OF.get(name, 0) for id_, name in COCO_CATEGORIES.items()}

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A region's pixels, still run-length coded."""

    label: int
    crowd: bool
    area: int  # pixels
    runs: Any  # pycocotools' own form


def shapes(picture: Picture) -> list[Shape]:
    """The regions that have pixels, rasterised as pycocotools does."""
    made = []
    for region in picture.regions:
        runs = _rasterised(region, picture.height, picture.width)
        if runs is not None and (area := int(_coco().area(runs))):
            shape = Shape(label=LABELS[region.category], crowd=region.crowd, area=area, runs=runs)
            made.append(shape)
    return made


def paint(made: list[Shape], height: int, width: int) -> Bytes:
    """The mask (h, w): class indices of VOC, 255 void. Of equal areas the later region wins."""
    mask_hw = np.zeros((height, width), dtype=np.uint8)
    for crowd in (shape for shape in made if shape.crowd and shape.label):
        mask_hw[_decoded(crowd)] = IGNORE_INDEX
    objects = [shape for shape in made if not shape.crowd]
    for shape in sorted(objects, key=lambda shape: -shape.area):
        mask_hw[_decoded(shape)] = shape.label
    return mask_hw


def _decoded(shape: Shape) -> NDArray[np.bool_]:
    with warnings.catch_warnings():
        # pycocotools 2.0.11 has not caught up with NumPy 2's __array__; what it returns is right.
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(_coco().decode(shape.runs)) == 1


def voc_pixels(mask_hw: Bytes) -> int:
    """Pixels of VOC's 20 classes; neither background nor void."""
    return int(np.count_nonzero((mask_hw > 0) & (mask_hw < len(VOC_CLASSES))))


def check_installed() -> None:
    """Raise DataError if pycocotools is not there, before anything else is done."""
    _coco()


def _coco() -> Any:
    """Only COCO needs pycocotools, so only here is it asked for."""
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError as error:
        raise DataError(
            f"COCO's masks need pycocotools ({error}); pip install pycocotools (extra: coco)"
        ) from None


def _rasterised(region: Region, height: int, width: int) -> Any:
    if not isinstance(region.outline, tuple):
        counts = {"size": [height, width], "counts": region.outline.tolist()}
        return _coco().frPyObjects(counts, height, width)
    # Less than three corners enclose nothing (and pycocotools takes two for a box).
    polygons = [polygon for polygon in region.outline if len(polygon) >= 6]
    if not polygons:
        return None
    return _coco().merge(_coco().frPyObjects(polygons, height, width))
