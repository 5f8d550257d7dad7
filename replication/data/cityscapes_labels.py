"""Cityscapes' label table: the ids in the official masks, and the 19 train ids of the benchmark.

Both directions are one table lookup: masks come in label ids, networks learn train ids, and the
test server wants label ids back.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replication.data.layouts import IGNORE_INDEX
from replication.errors import DataError

Ids = NDArray[np.uint8]


class Label(NamedTuple):
    """One row of the official table. A `train_id` of 255 is ignored in training and evaluation."""

    id: int
    name: str
    train_id: int


# Source: cityscapesscripts 2.3.0, helpers/labels.py (a test compares them). License plates have no
# id of their own: no pixel of an official mask is one.
LABELS = (
    Label(0, "unlabeled", 255),
    Label(1, "ego vehicle", 255),
    Label(2, "rectification border", 255),
    Label(3, "out of roi", 255),
    Label(4, "static", 255),
    Label(5, "dynamic", 255),
    Label(6, "ground", 255),
    Label(7, "road", 0),
    Label(8, "sidewalk", 1),
    Label(9, "parking", 255),
    Label(10, "rail track", 255),
    Label(11, "building", 2),
    Label(12, "wall", 3),
    Label(13, "fence", 4),
    Label(14, "guard rail", 255),
    Label(15, "bridge", 255),
    Label(16, "tunnel", 255),
    Label(17, "pole", 5),
    Label(18, "polegroup", 255),
    Label(19, "traffic light", 6),
    Label(20, "traffic sign", 7),
    Label(21, "vegetation", 8),
    Label(22, "terrain", 9),
    Label(23, "sky", 10),
    Label(24, "person", 11),
    Label(25, "rider", 12),
    Label(26, "car", 13),
    Label(27, "truck", 14),
    Label(28, "bus", 15),
    Label(29, "caravan", 255),
    Label(30, "trailer", 255),
    Label(31, "train", 16),
    Label(32, "motorcycle", 17),
    Label(33, "bicycle", 18),
    Label(-1, "license plate", -1),
)

_HIGHEST_ID = max(label.id for label in LABELS)
_HIGHEST_TRAIN_ID = max(label.train_id for label in LABELS if label.train_id != IGNORE_INDEX)


def _tables() -> tuple[Ids, Ids]:
    """Two tables of 256 entries: label id to train id, and back (255 becomes `unlabeled`)."""
    to_train = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    to_label = np.zeros(256, dtype=np.uint8)
    for label in LABELS:
        if label.id >= 0:
            to_train[label.id] = label.train_id
            if label.train_id != IGNORE_INDEX:
                to_label[label.train_id] = label.id
    return to_train, to_label


_TO_TRAIN, _TO_LABEL = _tables()


def to_train_ids(label_ids: Ids) -> Ids:
    """Train ids 0 to 18 and 255 (ignored) of a mask of label ids, any shape.

    Raises DataError for a value that is no label's id.
    """
    _check(label_ids, _HIGHEST_ID, "a label id", f"0 to {_HIGHEST_ID}")
    return _TO_TRAIN[label_ids]


def to_label_ids(train_ids: Ids) -> Ids:
    """Label ids of a mask of train ids, any shape, as the test server wants them.

    255 becomes 0, `unlabeled`, which scores as a wrong answer. Raises DataError for any other value
    above 18.
    """
    decided = train_ids[train_ids != IGNORE_INDEX]
    _check(decided, _HIGHEST_TRAIN_ID, "a train id", f"0 to {_HIGHEST_TRAIN_ID} and {IGNORE_INDEX}")
    return _TO_LABEL[train_ids]


def _check(values: Ids, highest: int, what: str, allowed: str) -> None:
    if values.dtype != np.uint8:
        raise DataError(f"values of type {values.dtype}; {what} is an uint8")
    stray = int(values.max(initial=0))
    if stray > highest:
        raise DataError(f"value {stray} is not {what}; allowed are {allowed}")
