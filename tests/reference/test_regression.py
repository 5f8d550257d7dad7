"""New seeds against reference seeds: by hand, against scipy.stats, and by simulation."""

import math
import random
import subprocess
import sys

import pytest
import scipy.stats

from replication.reference.regression import compare

REFERENCE, LOWER = [70.1, 71.4, 69.8, 70.9], [68.2, 69.9, 68.8]


def independent(one, two, **options):
    """Two groups without a seed in common."""
    others = {100 + seed: value for seed, value in enumerate(two)}
    return compare(dict(enumerate(one)), others, **options)


def paired(one, two, **options):
    return compare(dict(enumerate(one)), dict(enumerate(two)), **options)


def test_welch_by_hand():
    # 1, 2, 3 and 2, 4, 6: variances 1 and 4; SE = sqrt(1/3 + 4/3) = 1.291. Degrees of freedom
    # (5/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 2.941, where the printed tables' t(0.95) lies
    # between 2.353 (3) and 2.920 (2).
    found = independent([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found.difference == 2.0 and not found.paired
    half = found.interval.half_width
    assert 2.353 * 1.291 < half < 2.920 * 1.291
    assert found.interval.low == pytest.approx(2.0 - half)


def test_paired_by_hand():
    # Differences 1, 2, 3: mean 2, s = 1, t(0.95, 2) = 2.920 over sqrt(3).
    found = paired([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found.difference == 2.0 and found.paired
    assert found.interval.half_width == pytest.approx(2.920 / math.sqrt(3), abs=1e-3)


def test_pairs_are_the_new_seeds_and_those_of_the_reference():
    reference = {0: 70.0, 1: 60.0, 2: 50.0}
    found = compare(reference, {2: 50.1, 1: 60.1})
    assert found.paired and found.reference == {1: 60.0, 2: 50.0}
    assert found.interval.low == pytest.approx(0.1) and found.decision == "no worse"
    assert not compare(reference, {2: 50.1, 3: 60.1}).paired


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize(("one", "two"), [(REFERENCE, LOWER), (LOWER, REFERENCE)])
def test_the_intervals_are_scipys(one, two, alpha):
    """Their ends are those of the two-sided interval of confidence 1 - 2 alpha."""
    expected = scipy.stats.ttest_ind(two, one, equal_var=False).confidence_interval(1 - 2 * alpha)
    found = independent(one, two, alpha=alpha).interval
    assert found.low == pytest.approx(expected.low) and found.high == pytest.approx(expected.high)
    expected = scipy.stats.ttest_rel(two[:3], one[:3]).confidence_interval(1 - 2 * alpha)
    found = paired(one[:3], two[:3], alpha=alpha).interval
    assert found.low == pytest.approx(expected.low) and found.high == pytest.approx(expected.high)


def test_the_decision_is_scipys_after_a_shift_by_the_margin():
    """H0 "worse by the margin or more", and H0 "no worse than by the margin", each at 5 %."""
    draw = random.Random(1)
    seen = set()
    for _ in range(300):
        one = [draw.gauss(70, 0.5) for _ in range(draw.randint(2, 5))]
        two = [draw.gauss(70 - draw.choice([0, 1, 2, 4]), 1) for _ in range(draw.randint(2, 5))]
        shifted = [value + 1.0 for value in two]
        p_worse, p_no_worse = (
            scipy.stats.ttest_ind(shifted, one, equal_var=False, alternative=side).pvalue
            for side in ("less", "greater")
        )
        expected = "worse" if p_worse < 0.05 else "no worse" if p_no_worse < 0.05 else "undecided"
        assert independent(one, two, margin=1.0).decision == expected
        seen.add(expected)
    assert seen == {"worse", "no worse", "undecided"}


@pytest.mark.parametrize(
    ("reference", "measured", "decision"),
    [
        ({0: 70.0}, {0: 69.0}, "no worse"),
        ({0: 70.1}, {0: 69.1}, "no worse"),  # 69.1 - 70.1 is a hair below -1 in floating point
        ({0: 70.0}, {0: 68.9}, "worse"),
        ({0: 70.0}, {0: 75.0}, "no worse"),
        ({0: 70.0, 1: 71.0, 2: 72.0}, {5: 69.9}, "worse"),
        ({0: 70.0, 1: 71.0, 2: 72.0}, {0: 69.9}, "no worse"),  # the same seed, not the mean
        ({0: 70.0}, {1: 69.0, 2: 69.2}, "no worse"),
    ],
)
def test_a_single_seed_goes_by_the_declared_margin_and_says_so(reference, measured, decision):
    found = compare(reference, measured, margin=1.0)
    assert found.decision == decision and found.interval is None
    assert "single seed: declared margin 1" in str(found)


def test_the_text_names_both_numbers_the_margin_and_alpha():
    said = str(independent(REFERENCE, LOWER, margin=1.0, alpha=0.05))
    for part in ("68.97 ± 0.86 (3 seeds)", "70.55 ± 0.73 (4 seeds)", "-1.58", "Welch", "α = 0.05"):
        assert part in said
    assert "declared margin 1" in said
    assert "paired" in str(paired(LOWER, LOWER))


def test_undecided_names_a_margin_that_would_decide():
    found = independent(REFERENCE, LOWER, margin=1.0)
    assert found.decision == "undecided"
    needed = float(str(found).rsplit(" ", 1)[1])
    assert independent(REFERENCE, LOWER, margin=needed + 0.01).decision == "no worse"
    assert independent(REFERENCE, LOWER, margin=needed - 0.01).decision == "undecided"


@pytest.mark.parametrize("groups", [independent, paired])
def test_equal_values_on_both_sides_are_decided_by_their_difference(groups):
    assert groups([5.0, 5.0], [4.0, 4.0], margin=1.0).decision == "no worse"
    assert groups([5.0, 5.0], [3.9, 3.9], margin=1.0).decision == "worse"


@pytest.mark.parametrize(("reference", "measured"), [({}, {0: 1.0}), ({0: 1.0}, {}), ({}, {})])
def test_an_empty_side_is_refused(reference, measured):
    with pytest.raises(ValueError, match="no values"):
        compare(reference, measured)


@pytest.mark.parametrize("groups", [independent, paired])
@pytest.mark.parametrize(("count", "spread"), [(3, 1.0), (5, 1.0), (10, 3.0)])
def test_simulated_errors_at_the_margins_edge(groups, count, spread):
    """Just at the margin a false alarm and a false pass each come with probability alpha.

    4,000 draws: the standard error of 0.05 is 0.0034; four of them are allowed. `spread` is the
    new seeds' deviation over the reference's. Pairs are drawn without any correlation: pairing
    must hold there too.
    """
    draw = random.Random(count)
    trials = 4000
    decisions = [
        groups(
            [draw.gauss(70, 1) for _ in range(count)],
            [draw.gauss(69, spread) for _ in range(count)],
            margin=1.0,
        ).decision
        for _ in range(trials)
    ]
    assert decisions.count("worse") / trials == pytest.approx(0.05, abs=0.014)
    assert decisions.count("no worse") / trials == pytest.approx(0.05, abs=0.014)


@pytest.mark.parametrize("groups", [independent, paired])
def test_no_change_raises_no_alarm_and_a_large_one_is_found(groups):
    draw = random.Random(0)

    def decisions(change):
        return [
            groups(
                [draw.gauss(70, 0.6) for _ in range(3)],
                [draw.gauss(70 + change, 0.6) for _ in range(3)],
                margin=1.0,
            ).decision
            for _ in range(1000)
        ]

    assert decisions(0.0).count("worse") < 10
    assert decisions(-5.0).count("worse") > 950


def test_importing_it_does_not_import_scipy():
    code = "import sys, replication.reference.regression; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
