"""Statistics against hand-worked cases, scipy.stats, and simulated coverage."""

import math
import random
import subprocess
import sys

import pytest
import scipy.stats

from replication.statistics import (
    Interval,
    mean,
    mean_interval,
    prediction_interval,
    standard_deviation,
    student_t,
)


def test_mean_and_deviation_by_hand():
    # 1, 2, 6: mean 3; squares 4 + 1 + 9 = 14 over 2 = 7.
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert standard_deviation([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt(7))
    assert standard_deviation([5.0]) is None
    assert standard_deviation([5.0, 5.0]) == 0.0


def test_nothing_has_no_mean_and_no_interval():
    with pytest.raises(ValueError, match="no values"):
        mean([])
    for interval in (mean_interval, prediction_interval):
        for values in ([], [1.0]):
            with pytest.raises(ValueError, match="two values or more"):
                interval(values)


# From the printed tables of the t distribution.
@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [(0.95, 1, 6.314), (0.95, 2, 2.920), (0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 30, 2.042)],
)
def test_quantiles_against_the_printed_table(probability, degrees, expected):
    assert student_t(probability, degrees) == pytest.approx(expected, abs=5e-4)
    assert student_t(probability, degrees) == pytest.approx(scipy.stats.t.ppf(probability, degrees))


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 2), (1.0, 2), (0.95, 0)])
def test_quantiles_refuse_what_has_no_answer(probability, degrees):
    with pytest.raises(ValueError, match="needed"):
        student_t(probability, degrees)


def test_intervals_by_hand():
    # 1, 2, 3: m = 2, s = 1, n = 3. The mean to 2.920 / sqrt(3) = 1.686; one more value to
    # 4.303 sqrt(4/3) = 4.968.
    values = [1.0, 2.0, 3.0]
    assert mean_interval(values).low == pytest.approx(2 - 1.6859, abs=1e-4)
    assert mean_interval(values).high == pytest.approx(2 + 1.6859, abs=1e-4)
    assert prediction_interval(values).half_width == pytest.approx(4.9683, abs=1e-4)


def test_the_interval_of_the_mean_is_scipys():
    values = [70.1, 71.4, 69.8, 70.9]
    low, high = scipy.stats.t.interval(
        0.90, len(values) - 1, loc=mean(values), scale=scipy.stats.sem(values)
    )
    assert mean_interval(values).low == pytest.approx(low)
    assert mean_interval(values).high == pytest.approx(high)


def test_equal_values_give_a_point():
    for interval in (mean_interval, prediction_interval):
        assert interval([4.0, 4.0, 4.0]) == Interval(low=4.0, high=4.0)


def test_a_nan_gives_an_interval_that_contains_nothing():
    interval = mean_interval([1.0, math.nan])
    assert not interval.finite
    assert 1.0 not in interval


@pytest.mark.parametrize("count", [2, 3, 5])
def test_simulated_coverage(count):
    """4,000 draws: the standard error of a coverage of 0.95 is 0.0034; four of them are allowed."""
    draw = random.Random(0)
    trials, above_low, predicted = 4000, 0, 0
    for _ in range(trials):
        values = [draw.gauss(70, 1.5) for _ in range(count)]
        above_low += mean_interval(values).low <= 70
        predicted += draw.gauss(70, 1.5) in prediction_interval(values)
    assert above_low / trials == pytest.approx(0.95, abs=0.014)
    assert predicted / trials == pytest.approx(0.95, abs=0.014)


def test_importing_statistics_does_not_import_scipy():
    code = "import sys, replication.statistics; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
