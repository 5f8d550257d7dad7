"""An evaluation's counts against its images, their masks, and what is said of them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replication.bootstrap import Counts, mean_known, measured
from replication.data.cache import Pictures
from replication.rules.deviation import Deviation, some

# Pixels (images, classes) of each class in each mask.
Truth = NDArray[np.int64]


def size(images: Sequence[str], counts: Counts, outcome: Mapping[str, Any]) -> list[Deviation]:
    """As many images by the outcome, the list of ids and the counts; each once; its classes."""
    found = []
    sizes = {
        "the outcome": outcome.get("images"),
        "images.txt": len(images),
        "the counts": len(counts),
    }
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{where} {value}" for where, value in sizes.items())
        found.append(Deviation(value=f"images: {told}", expected="the same number"))
    twice = [id_ for id_, times in Counter(images).items() if times > 1]
    if twice:
        found.append(
            Deviation(value=f"images.txt names {some(twice)} twice", expected="each image once")
        )
    if counts.shape[1] != len(outcome["per_class"]):
        found.append(
            Deviation(
                value=f"counts of {counts.shape[1]} classes",
                expected=f"{len(outcome['per_class'])}, the outcome's",
            )
        )
    return found


def pixels(counts: Counts, outcome: Mapping[str, Any]) -> list[Deviation]:
    """The number of pixels that the outcome gives is that of the counts."""
    total = int(counts.sum(dtype=np.int64))
    if outcome.get("pixels") == total:
        return []
    return [
        Deviation(value=f"the outcome gives {outcome.get('pixels')} pixels", expected=f"{total}")
    ]


def masks(counts: Counts, truth: Truth, images: Sequence[str]) -> list[Deviation]:
    """Every pixel of the masks that is not void was counted once, in its class's row."""
    rows = counts.sum(2, dtype=np.int64)
    if rows.shape != truth.shape:
        return [
            Deviation(
                value=f"counts of {rows.shape[0]:,} images and {rows.shape[1]} classes",
                expected=f"{truth.shape[0]:,} and {truth.shape[1]}, the set's",
            )
        ]
    wrong = (rows != truth).any(1).nonzero()[0]
    if not len(wrong):
        return []
    found, must = int(rows.sum()), int(truth.sum())
    how = (
        f"{found:,} pixels counted"
        if found != must
        else f"{found:,} pixels counted, in other classes' rows"
    )
    return [
        Deviation(
            value=f"{how} ({len(wrong):,} of {len(rows):,} images, such as {images[wrong[0]]})",
            expected=f"{must:,} pixels that are not void",
        )
    ]


def score(counts: Counts, outcome: Mapping[str, Any]) -> list[Deviation]:
    """mIoU and IoU are the set's, from summed counts: never a mean over images."""
    values = measured([counts])[0]
    found = []
    miou = float(mean_known(values))
    said = outcome.get("miou")
    if said is None or not math.isclose(said, miou, rel_tol=1e-9):
        found.append(Deviation(value=f"mIoU {said}", expected=f"{miou:.10g} by the counts"))
    per_class = outcome["per_class"]
    if len(per_class) == len(values):
        wrong = [
            f"{name} {told}"
            for (name, told), value in zip(per_class.items(), values.tolist(), strict=True)
            if (told is None) != math.isnan(value)
            or (told is not None and not math.isclose(told, value, rel_tol=1e-9, abs_tol=1e-12))
        ]
        if wrong:
            found.append(Deviation(value=f"IoU of {some(wrong)}", expected="as the counts say"))
    return found


def one_truth(own: str, others: Mapping[str, str]) -> list[Deviation]:
    """The images and row sums are the same in all evaluations of one split.

    `own` is a digest of them, `others` those of the split's other evaluations, by step. Where most
    agree, the few are at fault; where none has a majority, each is told.
    """
    differing = [step for step, digest in others.items() if digest != own]
    agreeing = len(others) - len(differing)
    rivals = Counter(digest for digest in others.values() if digest != own)
    largest = max(rivals.values(), default=0)
    if not differing or agreeing + 1 > largest:
        return []
    return [
        Deviation(
            value=f"its images or true pixels are not those of {some(differing)}",
            expected="the same in every evaluation of the split",
        )
    ]


def truth_of(pictures: Pictures) -> Truth:
    """Pixels of every class in every mask; void is none. Reads every mask."""
    classes = len(pictures.classes)
    return np.stack(
        [
            np.bincount(pictures.mask(i).ravel(), minlength=256)[:classes]
            for i in range(len(pictures))
        ]
    )
