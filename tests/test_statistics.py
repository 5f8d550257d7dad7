"""Statistics against hand-worked cases, scipy.stats, and simulated coverage."""

import math
import random
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from benchmarks.coverage import bootstrap_coverage, standard_error
from replication.statistics import (
    Interval,
    chance_missed,
    mean,
    mean_interval,
    pairs_needed,
    prediction_floor,
    prediction_half_width,
    prediction_interval,
    seeds_needed,
    smallest_difference,
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
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert 1.0 not in interval


@pytest.mark.parametrize("count", [2, 3, 5])
def test_simulated_coverage_of_the_mean(count):
    """4,000 draws: the standard error of a coverage of 0.95 is 0.0034; four of them are allowed."""
    draw = random.Random(0)
    trials, above_low = 4000, 0
    for _ in range(trials):
        values = [draw.gauss(70, 1.5) for _ in range(count)]
        above_low += mean_interval(values).low <= 70
    assert above_low / trials == pytest.approx(0.95, abs=0.014)


DRAWS = 200_000


@pytest.mark.parametrize("count", [3, 5, 10])
def test_simulated_coverage_of_the_prediction_interval(count):
    """95 ± 1 % is asked for. 200,000 draws have a standard error of 0.05 %: five are allowed."""
    assert 5 * standard_error(0.95, DRAWS) < 0.0025
    generator = np.random.default_rng(count)
    values = generator.normal(70, 1.5, (DRAWS, count + 1))
    seeds, further = values[:, :-1], values[:, -1]
    half = prediction_half_width(1.0, count) * seeds.std(axis=1, ddof=1)
    held = np.abs(further - seeds.mean(axis=1)) <= half
    assert held.mean() == pytest.approx(0.95, abs=0.0025)
    # And the intervals that verdicts use are these.
    for index in range(500):
        assert (float(further[index]) in prediction_interval(seeds[index].tolist())) == held[index]


def test_a_percentile_bootstrap_over_three_seeds_undercovers():
    """Why seeds are not bootstrapped. From three values it reaches from the smallest to the
    largest: the mean is outside if all three fall to one side of it, 2 (1/2)^3 = 25 % of the time.
    """
    sample = [1.0, 2.0, 6.0]
    by_scipy = scipy.stats.bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=4000, random_state=0
    ).confidence_interval
    assert (by_scipy.low, by_scipy.high) == (1.0, 6.0)
    found = bootstrap_coverage(3, 20_000, np.random.default_rng(0))
    assert found < 0.90
    assert found == pytest.approx(0.75, abs=4 * standard_error(0.75, 20_000))
    # Student's t on as many draws, by the functions above: what a nominal 95 % should give.
    values = np.random.default_rng(1).standard_normal((20_000, 3))
    half = student_t(0.975, 2) * values.std(axis=1, ddof=1) / math.sqrt(3)
    assert np.mean(np.abs(values.mean(axis=1)) <= half) == pytest.approx(
        0.95, abs=4 * standard_error(0.95, 20_000)
    )


def test_half_widths_by_hand_and_by_scipy():
    # 1, 2, 3, 4, 5: s = sqrt(10 / 4) = 1.5811; 2.776 * 1.5811 * sqrt(6 / 5) = 4.809.
    assert prediction_half_width(math.sqrt(2.5), 5) == pytest.approx(4.809, abs=1e-3)
    assert prediction_interval([1.0, 2.0, 3.0, 4.0, 5.0]).half_width == pytest.approx(
        4.809, abs=1e-3
    )
    for n in (2, 3, 10, 1000):
        expected = scipy.stats.t.interval(0.9, n - 1, scale=0.7 * math.sqrt(1 + 1 / n))[1]
        assert prediction_half_width(0.7, n, confidence=0.9) == pytest.approx(expected)
    assert prediction_floor(2.0) == pytest.approx(2 * scipy.stats.norm.ppf(0.975))
    assert prediction_half_width(2.0, 10**9) == pytest.approx(prediction_floor(2.0))


def test_seeds_needed_by_hand():
    # Two reach 12.706 * 0.3 * sqrt(3/2) = 4.669; three 4.303 * 0.3 * sqrt(4/3) = 1.491.
    assert seeds_needed(0.3, 2.0) == 3
    assert seeds_needed(0.3, 4.67) == 2
    # Four reach 3.182 * 0.3 * sqrt(5/4) = 1.067.
    assert seeds_needed(0.3, 1.48) == seeds_needed(0.3, 1.07) == 4
    assert seeds_needed(0.0, 0.1) == 2


def test_seeds_needed_against_brute_force():
    counts = np.arange(2, 200_000)
    factors = scipy.stats.t.ppf(0.975, counts - 1) * np.sqrt(1 + 1 / counts)
    draw = random.Random(0)
    cases = [(draw.uniform(0.05, 3), draw.uniform(0.1, 6)) for _ in range(200)]
    # Barely above the floor: some 90,000 seeds.
    found = [seeds_needed(s, limit) for s, limit in [*cases, (1.0, 1.96)]]
    for (s, limit), n in zip([*cases, (1.0, 1.96)], found, strict=True):
        enough = np.flatnonzero(factors * s <= limit)
        assert n == (counts[enough[0]] if enough.size else None)
    assert found.count(None) > 20
    assert 80_000 < (found[-1] or 0) < 100_000


def test_no_number_of_seeds_brings_an_interval_below_the_scatter_of_one_run():
    assert seeds_needed(1.0, 1.9599) is None
    assert seeds_needed(1.0, prediction_floor(1.0)) is None
    assert seeds_needed(1.0, math.nextafter(prediction_floor(1.0), 2)) is None
    assert seeds_needed(1.0, 1.7, confidence=0.9) is not None
    for deviation, limit in ((math.nan, 2.0), (-1.0, 2.0), (1.0, 0.0), (math.inf, 2.0)):
        with pytest.raises(ValueError, match="needed"):
            seeds_needed(deviation, limit)


@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_smallest_difference_has_its_power(n):
    """By scipy's non-central t, and by 100,000 simulated experiments (standard error 0.13 %)."""
    shown = smallest_difference(0.6, n)
    critical = scipy.stats.t.ppf(0.95, n - 1)
    assert scipy.stats.nct.sf(critical, n - 1, shown * math.sqrt(n) / 0.6) == pytest.approx(
        0.8, abs=1e-6
    )
    differences = np.random.default_rng(n).normal(shown, 0.6, (100_000, n))
    error = differences.std(axis=1, ddof=1) / math.sqrt(n)
    above = differences.mean(axis=1) > critical * error
    assert above.mean() == pytest.approx(0.8, abs=4 * standard_error(0.8, 100_000))
    for index in range(200):
        assert (mean_interval(differences[index].tolist()).low > 0) == above[index]


def test_smallest_difference_against_a_known_sample_size():
    """Half a deviation, one-sided 5 %, 80 % power: 27 pairs (the value that G*Power gives)."""
    assert smallest_difference(1.0, 27) <= 0.5 < smallest_difference(1.0, 26)
    # A stricter level, as a correction for several claims asks for, needs a larger difference.
    assert smallest_difference(1.0, 5, one_sided=0.99) > smallest_difference(1.0, 5)
    with pytest.raises(ValueError, match="degree of freedom"):
        smallest_difference(1.0, 1)


def test_the_chance_to_miss_is_one_less_the_power():
    for n in (2, 5, 30):
        critical = scipy.stats.t.ppf(0.99, n - 1)
        missed = scipy.stats.nct.cdf(critical, n - 1, 0.7 * math.sqrt(n) / 0.5)
        assert chance_missed(0.5, 0.7, n, one_sided=0.99) == pytest.approx(missed, abs=1e-9)
    assert chance_missed(0.0, 0.1, 2) == 0


def test_pairs_needed_for_several_differences_together():
    assert pairs_needed([(1.0, 0.5)]) == 27
    # One that is hardly ever missed adds nothing; two alike share the chance to be missed.
    assert pairs_needed([(1.0, 0.5), (1.0, 5.0)]) == 27
    both = pairs_needed([(1.0, 0.5), (1.0, 0.5)])
    assert both == next(n for n in range(2, 100) if smallest_difference(1.0, n, power=0.9) <= 0.5)
    assert pairs_needed([(1.0, 0.5)] * 5, most=30) is None
    with pytest.raises(ValueError, match="above 0"):
        pairs_needed([(1.0, 0.5), (1.0, 0.0)])


def test_importing_statistics_does_not_import_scipy():
    code = "import sys, replication.statistics; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
