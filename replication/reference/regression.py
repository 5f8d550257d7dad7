"""New seeds against reference seeds: are they no worse, by more than a declared margin?

Two one-sided t-tests share one interval. With d the difference of the means, new minus reference,
and one-sided ends d -/+ t(1 - alpha) SE, the new seeds are

    no worse    if the lower end is not below -margin: they were shown to be no worse
    worse       if the upper end is below -margin: they were shown to be worse by more than it
    undecided   otherwise: these seeds cannot tell

At a true difference of just -margin either of the first two is said with probability alpha.

Where the reference has every new seed, the differences are taken seed by seed: one seed gives one
initialisation and one order of the data, here as there. Otherwise the two groups are independent,
with spreads of their own: Welch's test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from replication.statistics import Interval, mean, mean_interval, standard_deviation

# Points of mIoU: as near as a single run must come to a published number to reproduce it.
MARGIN = 1.0
ALPHA = 0.05

Decision = Literal["no worse", "worse", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """mIoU in percent by seed on either side; differences in points, new - reference."""

    # Of the reference only the new seeds where the test is paired.
    reference: Mapping[int, float]
    measured: Mapping[int, float]
    paired: bool
    margin: float
    alpha: float
    difference: float
    # None with a single seed on a side: the margin alone then decides.
    interval: Interval | None
    decision: Decision

    def __str__(self) -> str:
        said = (
            f"mIoU {_side(self.measured)} against the reference's {_side(self.reference)}: "
            f"{self.difference:+.2f}"
        )
        if self.interval is None:
            return f"{said}; single seed: declared margin {self.margin:g}"
        said += (
            f" [{self.interval.low:+.2f}, {self.interval.high:+.2f}], "
            f"{'t of paired seeds' if self.paired else 'Welch t'}, one-sided at α = {self.alpha:g} "
            f"either way; declared margin {self.margin:g}"
        )
        if self.decision == "undecided":
            said += f"; these seeds could show no margin below {-self.interval.low:.2f}"
        return said


def compare(
    reference: Mapping[int, float],
    measured: Mapping[int, float],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> Comparison:
    """Compare mIoU in percent by seed: paired where the reference has every new seed, else Welch.

    With a single value on a side there is no spread to test with, and the difference of the means
    is held against the margin as it is. Raises ValueError for an empty side.
    """
    paired = bool(measured) and measured.keys() <= reference.keys()
    if paired:
        reference = {seed: reference[seed] for seed in measured}
    one, two = list(reference.values()), list(measured.values())
    difference = mean(two) - mean(one)
    interval = None
    if len(one) > 1 and len(two) > 1:
        if paired:
            by_seed = [b - a for a, b in zip(one, two, strict=True)]
            interval = mean_interval(by_seed, one_sided=1 - alpha)
        else:
            half = _welch(one, two, alpha)
            interval = Interval(low=difference - half, high=difference + half)
    low, high = (interval.low, interval.high) if interval else (difference, difference)
    decision: Decision = "undecided"
    # To six decimals: a difference of just the margin is not more than it.
    if round(low + margin, 6) >= 0:
        decision = "no worse"
    elif round(high + margin, 6) < 0:
        decision = "worse"
    return Comparison(
        reference=reference,
        measured=measured,
        paired=paired,
        margin=margin,
        alpha=alpha,
        difference=difference,
        interval=interval,
        decision=decision,
    )


def _welch(a: Sequence[float], b: Sequence[float], alpha: float) -> float:
    """t(1 - alpha, Welch's degrees of freedom) times the standard error of the difference."""
    variances = [(standard_deviation(side) or 0.0) ** 2 / len(side) for side in (a, b)]
    total = math.fsum(variances)
    if total == 0:
        return 0.0
    shares = [variance / total for variance in variances]
    degrees = 1 / math.fsum(
        share**2 / (len(side) - 1) for share, side in zip(shares, (a, b), strict=True)
    )
    from scipy.special import stdtrit  # here: importing scipy takes a quarter of a second

    return float(stdtrit(degrees, 1 - alpha)) * math.sqrt(total)


def _side(values: Mapping[int, float]) -> str:
    found = list(values.values())
    if len(found) == 1:
        return f"{found[0]:.2f} (seed {next(iter(values))})"
    return f"{mean(found):.2f} ± {standard_deviation(found):.2f} ({len(found)} seeds)"
