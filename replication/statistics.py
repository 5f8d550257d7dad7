"""Means, spreads and intervals of a few measured values. Lists of floats in, floats out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

# Beyond this, one more value changes a half-width by less than floating point tells apart.
LARGEST_COUNT = 2**50


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
    centre, spread = _two_or_more(values)
    half = student_t(one_sided, len(values) - 1) * spread * (1 / math.sqrt(len(values)))
    return Interval(low=centre - half, high=centre + half)


def prediction_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Where one further value of the same population falls with this confidence.

    m -/+ t((1 + confidence) / 2, n - 1) s sqrt(1 + 1/n), for normal values. Needs two values.
    """
    centre, spread = _two_or_more(values)
    half = prediction_half_width(spread, len(values), confidence=confidence)
    return Interval(low=centre - half, high=centre + half)


def prediction_half_width(deviation: float, n: int, *, confidence: float = 0.95) -> float:
    """How far a prediction interval reaches to either side: from n values of deviation s,

    t((1 + confidence) / 2, n - 1) s sqrt(1 + 1/n). It falls with n towards `prediction_floor`.
    """
    return student_t((1 + confidence) / 2, n - 1) * deviation * math.sqrt(1 + 1 / n)


def prediction_floor(deviation: float, *, confidence: float = 0.95) -> float:
    """What no number of values brings a prediction interval's half-width below.

    z((1 + confidence) / 2) s, with z of the normal distribution: 1.96 s for 95 %. The further
    value scatters with s however well the mean is known.
    """
    return NormalDist().inv_cdf((1 + confidence) / 2) * deviation


def seeds_needed(deviation: float, limit: float, *, confidence: float = 0.95) -> int | None:
    """The smallest n >= 2 whose prediction interval reaches no further than `limit` either way.

    The smallest n with t((1 + confidence) / 2, n - 1) s sqrt(1 + 1/n) <= limit, were the deviation
    of n values the s given; None where there is none, the limit being at or below
    z((1 + confidence) / 2) s.
    """
    if not (math.isfinite(deviation) and deviation >= 0 and limit > 0):
        raise ValueError(
            f"a deviation of 0 or more and a limit above 0 are needed, not {deviation} and {limit}"
        )
    if limit <= prediction_floor(deviation, confidence=confidence):
        return None

    def suffice(n: int) -> bool:
        return prediction_half_width(deviation, n, confidence=confidence) <= limit

    too_few, enough = 1, 2
    while not suffice(enough):
        if enough > LARGEST_COUNT:
            return None
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if suffice(middle) else (middle, enough)
    return enough


def smallest_difference(
    deviation: float, n: int, *, power: float = 0.8, one_sided: float = 0.95
) -> float:
    """The smallest true difference that n pairs show to be above zero with this power.

    s is the deviation of the n paired differences, and s / sqrt(n) the error of their mean: see
    `smallest_shown`. Needs two pairs.
    """
    error = deviation / math.sqrt(n)
    return smallest_shown(error, n - 1, power=power, one_sided=one_sided)


def smallest_shown(
    error: float, degrees: int, *, power: float = 0.8, one_sided: float = 0.95
) -> float:
    """The smallest true difference that is shown to be above zero with this power.

    The one-sided t-test on a difference m with this standard error says "above zero" where
    m / error > t(one_sided, degrees); for a true difference d, m / error follows the non-central
    t distribution with non-centrality d / error. The d at which that exceeds t(one_sided, degrees)
    with probability `power`.
    """
    critical = student_t(one_sided, degrees)
    from scipy.special import nctdtrinc

    return float(nctdtrinc(degrees, 1 - power, critical)) * error


def chance_missed(deviation: float, difference: float, n: int, *, one_sided: float = 0.95) -> float:
    """The chance that n pairs do not show a true difference to be above zero: 1 - power."""
    if deviation == 0:
        return 0.0
    from scipy.special import nctdtr

    shift = difference * math.sqrt(n) / deviation
    return float(nctdtr(n - 1, shift, student_t(one_sided, n - 1)))


def pairs_needed(
    differences: Sequence[tuple[float, float]],
    *,
    power: float = 0.8,
    one_sided: float = 0.95,
    most: int = 10_000,
) -> int | None:
    """The smallest number of pairs that shows all true differences above zero with this power.

    Each is a deviation over pairs and a true difference. The smallest n >= 2 at which their chances
    to be missed add up to at most 1 - power: enough however they depend on each other, and for one
    difference the n whose `smallest_difference` it is. None where `most` pairs are too few. Raises
    ValueError for a difference that is not above zero.
    """
    for deviation, difference in differences:
        if not (math.isfinite(deviation) and deviation >= 0 and difference > 0):
            raise ValueError(
                "a deviation of 0 or more and a difference above 0 are needed, not "
                f"{deviation} and {difference}"
            )

    def suffice(n: int) -> bool:
        missed = sum(chance_missed(*one, n, one_sided=one_sided) for one in differences)
        return missed <= 1 - power

    too_few, enough = 1, 2
    while not suffice(enough):
        if enough >= most:
            return None
        too_few, enough = enough, min(2 * enough, most)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if suffice(middle) else (middle, enough)
    return enough


def _two_or_more(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the standard deviation of values that have one."""
    spread = standard_deviation(values)
    if spread is None:
        raise ValueError(f"an interval needs two values or more, not {len(values)}")
    return mean(values), spread
