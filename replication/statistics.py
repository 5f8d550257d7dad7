"""Means, spreads and intervals of a few measured values. Lists of floats in, floats out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From low to high, both ends belonging to it."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def finite(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


def mean(values: Sequence[float]) -> float:
    if not values:
        raise ValueError("the mean of no values")
    return math.fsum(values) / len(values)


def standard_deviation(values: Sequence[float]) -> float | None:
    """The sample's standard deviation, with n - 1; None for a single value."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def student_t(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution: t with P(T <= t) = probability."""
    if not 0 < probability < 1:
        raise ValueError(f"a probability between 0 and 1 is needed, not {probability}")
    if degrees < 1:
        raise ValueError(f"at least one degree of freedom is needed, not {degrees}")
    from scipy.special import stdtrit  # here: importing scipy takes a quarter of a second

    return float(stdtrit(degrees, probability))


def mean_interval(values: Sequence[float], *, one_sided: float = 0.95) -> Interval:
    """Where the mean of the population lies; each end holds with confidence `one_sided`.

    m -/+ t(one_sided, n - 1) s / sqrt(n), for normal values. Needs two values.
    """
    return _around(values, one_sided, 1 / math.sqrt(len(values)) if values else 0.0)


def prediction_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Where one further value of the same population falls with this confidence.

    m -/+ t((1 + confidence) / 2, n - 1) s sqrt(1 + 1/n), for normal values. Needs two values.
    """
    factor = math.sqrt(1 + 1 / len(values)) if values else 0.0
    return _around(values, (1 + confidence) / 2, factor)


def _around(values: Sequence[float], probability: float, factor: float) -> Interval:
    spread = standard_deviation(values)
    if spread is None:
        raise ValueError(f"an interval needs two values or more, not {len(values)}")
    centre = mean(values)
    half = student_t(probability, len(values) - 1) * spread * factor
    return Interval(low=centre - half, high=centre + half)
