"""Differences between two cells over seeds: Student's t-tests on them, and Holm's correction."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from replication.statistics import (
    Interval,
    mean,
    smallest_shown,
    standard_deviation,
    student_t,
)

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference in points, its standard error, and the error's degrees of freedom.

    One seed has no error: `error` is None, and nothing can be tested.
    """

    mean: float
    error: float | None
    degrees: int
    # Seeds on the side that has fewer.
    n: int
    paired: bool

    def p_above(self, bound: float = 0.0) -> float:
        """The chance of a mean this high or higher, were the true difference `bound` or below.

        1 without an error: one seed is evidence of nothing.
        """
        return self._p(self.mean - bound)

    def p_below(self, bound: float = 0.0) -> float:
        """The chance of a mean this low or lower, were the true difference `bound` or above."""
        return self._p(bound - self.mean)

    def _p(self, excess: float) -> float:
        if self.error is None or excess == 0 == self.error:
            return 1.0
        if self.error == 0:
            return 0.0 if excess > 0 else 1.0
        from scipy.special import stdtr  # here: importing scipy takes a quarter of a second

        return float(stdtr(self.degrees, -excess / self.error))

    def interval(self, level: float) -> Interval:
        """Where the true difference lies; each end is wrong with probability `level`."""
        if self.error is None:
            raise ValueError("an interval needs two seeds or more")
        half = student_t(1 - level, self.degrees) * self.error
        return Interval(low=self.mean - half, high=self.mean + half)

    def smallest_shown(self, level: float, *, power: float = 0.8) -> float:
        """The smallest true difference that a test at `level` shows with this power."""
        if self.error is None:
            raise ValueError("a test needs two seeds or more")
        return smallest_shown(self.error, self.degrees, power=power, one_sided=1 - level)


def paired(differences: Sequence[float]) -> Difference:
    """Student's t on differences seed by seed: error s / sqrt(n), n - 1 degrees of freedom."""
    spread, n = standard_deviation(differences), len(differences)
    error = None if spread is None else spread / math.sqrt(n)
    return Difference(mean=mean(differences), error=error, degrees=n - 1, n=n, paired=True)


def unpaired(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Welch's t for two cells whose seeds have nothing in common.

    Error sqrt(sa^2 / na + sb^2 / nb), with the degrees of freedom of the smaller sample: whatever
    the two deviations, the test then errs no more often than it says (M. R. Mickey and M. B. Brown,
    Bounds on the distribution functions of the Behrens-Fisher statistic, Annals of Mathematical
    Statistics 37, 1966). Welch and Satterthwaite's estimate does so by up to half with three seeds.
    """
    difference, n = mean(a) - mean(b), min(len(a), len(b))
    of_a, of_b = standard_deviation(a), standard_deviation(b)
    error = None
    if of_a is not None and of_b is not None:
        error = math.sqrt(of_a**2 / len(a) + of_b**2 / len(b))
    return Difference(mean=difference, error=error, degrees=n - 1, n=n, paired=False)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What became of one hypothesis among many."""

    rejected: bool
    # What its p-value was held against.
    level: float


def holm(p_values: Mapping[Key, float], alpha: float) -> dict[Key, Tested]:
    """Holm's step-down correction: the chance of any false rejection is at most `alpha`.

    The smallest p-value is held against alpha / m, the next against alpha / (m - 1), and so on;
    from the first that is too large, none is rejected. Source: S. Holm, A simple sequentially
    rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    tested: dict[Key, Tested] = {}
    going = True
    level = alpha
    for rank, key in enumerate(sorted(p_values, key=p_values.__getitem__)):
        if going:
            level = alpha / (len(p_values) - rank)
            going = p_values[key] <= level
        tested[key] = Tested(rejected=going, level=level)
    return tested
