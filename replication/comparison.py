"""Two cells on the same images: how far apart they are, by class, and how well that is known.

Two errors stand side by side. Other *seeds* give other networks: known from the seeds that ran.
Another *set of images* of the same size gives other numbers for the same networks: known from a
bootstrap over the images that were evaluated. Neither contains the other.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from replication.bootstrap import (
    RESAMPLES,
    Floats,
    Sampling,
    mean_known,
    measured,
    resampled,
    sampling,
)
from replication.errors import RunError
from replication.finished import Finished
from replication.statistics import Interval, mean, mean_interval, standard_deviation


@dataclass(frozen=True, kw_only=True)
class Runs:
    """A cell's evaluations, one a seed; a record that was given by its path has no seed."""

    name: str
    records: tuple[Finished, ...]
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two: mIoU in percent under each seed, and its mean's error from the images."""

    name: str
    seeds: tuple[int, ...]
    records: tuple[str, ...]
    values: tuple[float, ...]
    images: Sampling

    @property
    def deviation(self) -> float | None:
        """Over seeds; None for a single one."""
        return standard_deviation(self.values)


@dataclass(frozen=True, kw_only=True)
class ClassDifference:
    """IoU in percent of one class on both sides, means over seeds; None where it occurs nowhere."""

    name: str
    # How many of the images hold a pixel of the class.
    images: int
    a: float | None
    b: float | None
    difference: Sampling | None
    # Deviation over seeds of the difference paired by seed; None for a single one.
    deviation: float | None

    @property
    def side(self) -> str:
        """Which side of zero the interval lies on; empty where it holds zero."""
        if self.difference is None:
            return ""
        interval = self.difference.interval
        return "above" if interval.low > 0 else "below" if interval.high < 0 else ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`a` less `b` in points of mIoU."""

    a: Side
    b: Side
    images: int
    difference: Sampling
    # Paired by seed; empty where the two do not have the same seeds.
    by_seed: tuple[float, ...]
    # The part of the draws that lack a class which the images have: their mIoU is of fewer classes.
    lacking: float
    # Largest difference first; classes that occur nowhere last.
    classes: tuple[ClassDifference, ...]

    @property
    def seed_error(self) -> float | None:
        """The standard error of the difference from seeds; None where a single seed ran."""
        spread = standard_deviation(self.by_seed) if self.by_seed else None
        return None if spread is None else spread / math.sqrt(len(self.by_seed))

    @property
    def seed_interval(self) -> Interval | None:
        """Two-sided 95 %, by Student's t."""
        return None if self.seed_error is None else mean_interval(self.by_seed, one_sided=0.975)

    @property
    def both(self) -> float | None:
        """The standard error from seeds and images together, taken as independent."""
        error = self.seed_error
        return None if error is None else math.hypot(error, self.difference.error)


def compare(a: Runs, b: Runs, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two cells. `seed` is the bootstrap's.

    Raises RunError where they were not evaluated on the same images, classes and masks, or where
    they are one and the same.
    """
    records = (*a.records, *b.records)
    if [one.id for one in a.records] == [one.id for one in b.records]:
        listed = ", ".join(one.id for one in a.records)
        raise RunError(f"{a.name} and {b.name} are the same evaluation ({listed})")
    for other in records[1:]:
        _same(records[0], other)
    counts = [one.confusion for one in records]
    values, draws = measured(counts), resampled(counts, resamples=resamples, seed=seed)
    mious, drawn = mean_known(values), mean_known(draws)
    of_a, of_b = slice(0, len(a.records)), slice(len(a.records), None)
    paired = bool(a.seeds) and a.seeds == b.seeds
    by_seed = mious[of_a] - mious[of_b] if paired else np.array([])
    return Comparison(
        a=_side(a, mious[of_a], drawn[:, of_a]),
        b=_side(b, mious[of_b], drawn[:, of_b]),
        images=counts[0].shape[0],
        difference=sampling(
            float(mious[of_a].mean() - mious[of_b].mean()),
            drawn[:, of_a].mean(1) - drawn[:, of_b].mean(1),
        ),
        by_seed=tuple(by_seed.tolist()),
        lacking=_lacking(values, draws),
        classes=_classes(records[0], values, draws, len(a.records), paired),
    )


def _same(one: Finished, other: Finished) -> None:
    """Raises RunError unless both were evaluated on the same images, classes and masks."""
    what = f"{one.id} and {other.id}"
    if one.images != other.images:
        mine, theirs = set(one.images), set(other.images)
        lone = sorted(mine ^ theirs)
        how = (
            f"{len(one.images):,} and {len(other.images):,} images, "
            f"{len(mine & theirs):,} in common, {lone[0]} not among them"
            if lone
            else "the same images in another order"
        )
        raise RunError(f"{what} were evaluated on different image lists ({how}): not comparable")
    if one.classes != other.classes:
        lone = sorted(set(one.classes) ^ set(other.classes))
        how = f"only one has {lone[0]}" if lone else "in another order"
        raise RunError(
            f"{what} have different classes ({len(one.classes)} and {len(other.classes)}; {how}): "
            "not comparable"
        )
    for record in (one, other):
        if len(record.confusion) != len(record.images):
            raise RunError(
                f"{record.folder}: damaged (counts of {len(record.confusion):,} images, "
                f"{len(record.images):,} in images.txt)"
            )
    unlike = (one.confusion.sum(2) != other.confusion.sum(2)).any(1).nonzero()[0]
    if len(unlike):
        raise RunError(
            f"{what} were counted on different masks ({len(unlike):,} images, such as "
            f"{one.images[unlike[0]]}): not comparable"
        )


def _side(runs: Runs, values: Floats, draws: Floats) -> Side:
    return Side(
        name=runs.name,
        seeds=runs.seeds,
        records=tuple(one.id for one in runs.records),
        values=tuple(values.tolist()),
        images=sampling(float(values.mean()), draws.mean(1)),
    )


def _lacking(values: Floats, draws: Floats) -> float:
    return float((np.isnan(draws) & ~np.isnan(values)).any((1, 2)).mean())


def _classes(
    record: Finished, values: Floats, draws: Floats, split: int, paired: bool
) -> tuple[ClassDifference, ...]:
    """From IoU (networks, classes) and its draws; the first `split` networks are `a`'s."""
    a, b = (mean_known(part, 0) for part in (values[:split], values[split:]))
    drawn = mean_known(draws[:, :split], 1) - mean_known(draws[:, split:], 1)
    holding = (record.confusion.sum(2) > 0).sum(0)
    found = []
    for index, name in enumerate(record.classes):
        known = not math.isnan(a[index] - b[index])
        by_seed = values[:split, index] - values[split:, index] if paired else np.array([np.nan])
        found.append(
            ClassDifference(
                name=name,
                images=int(holding[index]),
                a=_number(a[index]),
                b=_number(b[index]),
                difference=sampling(float(a[index] - b[index]), drawn[:, index]) if known else None,
                deviation=None if np.isnan(by_seed).any() else standard_deviation(by_seed.tolist()),
            )
        )
    return tuple(
        sorted(found, key=lambda one: math.inf if one.difference is None else -one.difference.value)
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def to_json(found: Comparison) -> dict[str, Any]:
    """All numbers, in percent and points; null for what is not known."""

    def drawn(one: Sampling | None) -> dict[str, float | None] | None:
        if one is None:
            return None
        return {
            "value": one.value,
            "error_from_images": _number(one.error),
            "low": _number(one.interval.low),
            "high": _number(one.interval.high),
        }

    def side(one: Side) -> dict[str, Any]:
        return {
            "name": one.name,
            "records": list(one.records),
            "seeds": list(one.seeds),
            "miou_by_seed": list(one.values),
            "miou": mean(one.values),
            "deviation_over_seeds": one.deviation,
            "over_images": drawn(one.images),
        }

    seeds = found.seed_interval
    return {
        "a": side(found.a),
        "b": side(found.b),
        "images": found.images,
        "difference": drawn(found.difference),
        "difference_by_seed": list(found.by_seed),
        "error_from_seeds": found.seed_error,
        "over_seeds": None if seeds is None else {"low": seeds.low, "high": seeds.high},
        "error_from_both": found.both,
        "draws_lacking_a_class": found.lacking,
        "classes": [
            {
                "class": one.name,
                "images": one.images,
                "a": one.a,
                "b": one.b,
                "difference": drawn(one.difference),
                "deviation_over_seeds": one.deviation,
            }
            for one in found.classes
        ],
    }
