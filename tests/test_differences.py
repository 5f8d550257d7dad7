"""Differences and Holm's correction: hand-worked cases, scipy's tests, simulated error rates."""

import math

import numpy as np
import pytest
import scipy.stats

from replication.differences import Difference, holm, paired, unpaired

A, B = [52.0, 53.5, 51.0, 54.0], [50.0, 52.0, 50.5]


def test_paired_is_students_test_on_the_differences():
    """scipy's paired test, to both sides of a bound."""
    differences = [a - b for a, b in zip(A, B, strict=False)]
    found = paired(differences)
    assert (found.n, found.degrees, found.paired) == (3, 2, True)
    for bound in (0.0, 0.7, 3.0):
        greater = scipy.stats.ttest_1samp(differences, bound, alternative="greater").pvalue
        less = scipy.stats.ttest_1samp(differences, bound, alternative="less").pvalue
        assert found.p_above(bound) == pytest.approx(greater)
        assert found.p_below(bound) == pytest.approx(less)


def test_unpaired_has_welchs_statistic_and_fewer_degrees_of_freedom():
    found = unpaired(A, B)
    welch = scipy.stats.ttest_ind(A, B, equal_var=False)
    assert found.error is not None
    assert found.mean / found.error == pytest.approx(welch.statistic)
    # Two for the smaller sample of three, where Welch and Satterthwaite estimate more.
    assert (found.n, found.degrees, found.paired) == (3, 2, False)
    assert welch.df > 2
    assert found.p_above() == pytest.approx(scipy.stats.t.sf(welch.statistic, 2))


def test_an_interval_ends_where_its_test_does():
    found = paired([1.0, 2.0, 2.5, 0.5])
    interval = found.interval(0.0125)
    assert found.p_above(interval.low) == pytest.approx(0.0125)
    assert found.p_below(interval.high) == pytest.approx(0.0125)


def test_one_seed_is_evidence_of_nothing():
    for found in (paired([5.0]), unpaired([5.0], [1.0, 2.0])):
        assert found.error is None
        assert found.p_above() == found.p_below() == 1.0
        for ask in (found.interval, found.smallest_shown):
            with pytest.raises(ValueError, match="two seeds or more"):
                ask(0.05)


@pytest.mark.parametrize(
    ("differences", "above", "below"),
    [([1.0, 1.0], 0, 1), ([-1.0, -1.0], 1, 0), ([0.0, 0.0], 1, 1)],
)
def test_differences_without_spread(differences, above, below):
    found = paired(differences)
    assert (found.p_above(), found.p_below()) == (above, below)


@pytest.mark.parametrize("ratio", [1.0, 4.0, 16.0])
def test_unpaired_errs_no_more_than_it_says(ratio):
    """Three seeds each of equal cells: at 1 % no more than 1 % are shown to differ, by simulation.

    Welch and Satterthwaite's degrees of freedom exceed it at unequal deviations.
    """
    generator = np.random.default_rng(0)
    draws = 4000
    shown = sum(
        unpaired(a.tolist(), (ratio * b).tolist()).p_above() <= 0.01
        for a, b in generator.standard_normal((draws, 2, 3))
    )
    assert shown / draws <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / draws)


def test_the_smallest_difference_is_shown_four_times_in_five():
    """By simulation, with the error known to be 0.6 / sqrt(3)."""
    known = Difference(mean=0.0, error=0.6 / math.sqrt(3), degrees=2, n=3, paired=True)
    smallest = known.smallest_shown(0.0125)
    generator = np.random.default_rng(1)
    draws = generator.standard_normal((4000, 3)) * 0.6 + smallest
    shown = np.mean([paired(values.tolist()).p_above() <= 0.0125 for values in draws])
    assert shown == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 4000))


def test_holm_by_hand():
    """Five p-values at 5 %: 0.01, 0.0125, 0.0167 are passed, 0.025 is not, so 0.03 is not tried."""
    tested = holm({"a": 0.0165, "b": 0.001, "c": 0.03, "d": 0.012, "e": 0.026}, 0.05)
    assert [key for key, one in tested.items() if one.rejected] == ["b", "d", "a"]
    levels = {key: round(one.level, 4) for key, one in tested.items()}
    assert levels == {"b": 0.01, "d": 0.0125, "a": 0.0167, "e": 0.025, "c": 0.025}
    # 0.03 is below 0.05 / 1, but 0.026 stopped the descent.
    assert not tested["c"].rejected


def test_holm_of_few():
    assert holm({}, 0.05) == {}
    assert holm({"a": 0.05}, 0.05)["a"].rejected
    assert not holm({"a": 0.03, "b": 0.03}, 0.05)["a"].rejected
    assert holm({"a": 0.025, "b": 0.05}, 0.05)["b"].rejected


def test_holm_errs_in_a_twentieth_of_all_families():
    """Eight true hypotheses with even p-values: at most one family in twenty has a rejection."""
    generator = np.random.default_rng(2)
    draws = 4000
    alarms = np.mean(
        [
            any(one.rejected for one in holm(dict(enumerate(row)), 0.05).values())
            for row in generator.random((draws, 8)).tolist()
        ]
    )
    # 1 - (1 - 0.05 / 8)^8 = 4.89 %
    assert alarms == pytest.approx(1 - (1 - 0.05 / 8) ** 8, abs=3 * math.sqrt(0.0489 / draws))
