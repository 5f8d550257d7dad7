"""Sampling error of an evaluation set: a bootstrap over its images, from per-image counts.

A set of images is one draw from the pictures it stands for. Drawing as many images from it with
replacement, again and again, shows how far mIoU would move with another set of the same size
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13). It says nothing
about the error from seeds: the networks are held fixed.

Only sums over images enter mIoU, so all draws are one product: how often each image was drawn
times its counts. mIoU is the set's, from summed counts, in every draw; never a mean over images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replication.statistics import Interval

# Confusion counts (images, classes, classes), rows the truth, as evaluation records them.
Counts = NDArray[np.int32] | NDArray[np.int64]
Floats = NDArray[np.float64]

RESAMPLES = 2000
# Entries of one block of draws (resamples, images): 32 MB of doubles.
BLOCK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A measured value with its error from the choice of images."""

    value: float
    # The standard deviation over the draws.
    error: float
    # From the draws' quantiles.
    interval: Interval


def measured(counts: Sequence[Counts]) -> Floats:
    """IoU in percent (len(counts), classes) over all images; NaN for a class that is nowhere."""
    return _iou(np.stack([_sums(one).sum(0) for one in counts]))


def resampled(counts: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """IoU in percent (resamples, len(counts), classes) over images drawn with replacement.

    Every one of `counts` is of the same images in the same order and sees the same draws: that is
    what makes differences between them paired. NaN where a draw has no pixel of a class.
    Raises ValueError for counts of unlike shapes.
    """
    if len({one.shape for one in counts}) != 1:
        raise ValueError(f"unlike counts: {', '.join(str(one.shape) for one in counts)}")
    n = counts[0].shape[0]
    # (images, len(counts) * 3 * classes)
    sums = np.stack([_sums(one) for one in counts], axis=1).reshape(n, -1)
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK // n)
    parts = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.multinomial(n, np.full(n, 1.0 / n), size=size)
        # Whole numbers below 2 ** 53: the product is exact.
        parts.append(drawn.astype(np.float64) @ sums)
    return _iou(np.concatenate(parts).reshape(resamples, len(counts), 3, -1))


def mean_known(values: Floats, axis: int = -1) -> Floats:
    """The mean over an axis of what is not NaN, such as mIoU over classes; NaN where all is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis) / known.sum(axis))


def sampling(value: float, draws: Floats, *, confidence: float = 0.95) -> Sampling:
    """A value's standard error and percentile interval from what it was in each draw (resamples,).

    Draws in which it does not exist (a class that was not drawn) are left out.
    """
    known = draws[~np.isnan(draws)]
    if len(known) < 2:
        return Sampling(value=value, error=np.nan, interval=Interval(low=np.nan, high=np.nan))
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Sampling(
        value=value,
        error=float(known.std(ddof=1)),
        interval=Interval(low=float(low), high=float(high)),
    )


def _sums(counts: Counts) -> Floats:
    """All of an image's counts that IoU needs (images, 3, classes): hits, true, predicted."""
    hits = np.diagonal(counts, axis1=1, axis2=2)
    parts = (hits, counts.sum(2, dtype=np.int64), counts.sum(1, dtype=np.int64))
    return np.stack([part.astype(np.float64) for part in parts], axis=1)


def _iou(sums: Floats) -> Floats:
    """Percent (..., classes) from (..., 3, classes)."""
    hits, true, predicted = np.moveaxis(sums, -2, 0)
    union = true + predicted - hits
    with np.errstate(invalid="ignore"):
        return np.where(union > 0, 100.0 * hits / union, np.nan)
