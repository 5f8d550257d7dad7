"""Claims on hand-worked differences: each kind, each verdict, a family, and what is missing."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from replication.claims import judge_claims
from replication.evidence import conditions
from replication.results import ClaimResult, SeedRun
from replication.spec import Claim

PUBLISHED = {"a": 77.21, "b": 76.58, "c": 75.36}
MARGIN = 2.0
PAIRS = (("a", "b"), ("b", "c"))


def claim(*pairs: tuple[str, str], mode: str = "all", **changes: Any) -> Claim:
    fields: dict[str, Any] = {
        "says": "a is better",
        "where": "section 4.3",
        "kind": {"similar": "similar", "no worse": "no_worse"}.get(mode, "greater"),
        "mode": mode,
        "pairs": pairs or (("a", "b"),),
    }
    return Claim(**{**fields, **changes})


def runs(draws: str = "", **values: list[float | None]) -> dict[str, list[SeedRun]]:
    return {
        cell: [
            SeedRun(seed=seed, miou=value, draws=draws and f"{draws} {cell}")
            for seed, value in enumerate(column)
        ]
        for cell, column in values.items()
    }


def judge(of: Claim, *, comparable: bool = False, **values: list[float | None]) -> ClaimResult:
    (result,) = judge_claims([of], runs(**values), PUBLISHED, MARGIN, comparable=comparable)
    return result


# One seed, margin 2: the difference must leave the margin to either side.
@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (2.1, "supported"),
        (2.0, "undecided"),
        (0.0, "undecided"),
        (-2.0, "undecided"),
        (-2.1, "contradicted"),
    ],
)
def test_a_single_seed(difference, verdict):
    result = judge(claim(), a=[50 + difference], b=[50.0])
    assert result.verdict == verdict
    (pair,) = result.pairs
    assert (pair.a, pair.b, pair.n, pair.published) == ("a", "b", 1, 0.63)
    assert pair.measured == pytest.approx(difference)
    assert (pair.low, pair.high) == pytest.approx((difference - 2, difference + 2))
    assert "single seed; the paper's +0.63. One seed is held to the declared margin of 2." in (
        result.basis
    )
    assert (result.p, result.level, result.smallest) == (None, None, None)
    assert ("(single seed)" in result.shown_verdict) == (verdict != "undecided")


# Three seeds with differences d - 0.5, d, d + 0.5: s = 0.5. One claim is two hypotheses: the
# first is tested at 0.025, and t(0.975, 2) = 4.3027 asks for 4.3027 * 0.5 / sqrt(3) = 1.2421.
@pytest.mark.parametrize(
    ("d", "verdict"),
    [(1.25, "supported"), (1.23, "undecided"), (-1.23, "undecided"), (-1.25, "contradicted")],
)
def test_three_seeds_are_paired(d, verdict):
    level = [40.0, 60.0, 50.0]
    a = [base + d + delta for base, delta in zip(level, (-0.5, 0.0, 0.5), strict=True)]
    result = judge(claim(), a=a, b=[*level])
    assert result.verdict == verdict
    (pair,) = result.pairs
    assert pair.n == 3
    assert pair.low == pytest.approx(d - 1.2421, abs=1e-4)
    assert pair.high == pytest.approx(d + 1.2421, abs=1e-4)
    assert "3 seeds; " in result.basis and "not paired" not in result.basis
    side = "less" if verdict == "contradicted" else "greater"
    p = scipy.stats.ttest_rel(a, level, alternative=side).pvalue
    assert result.p == pytest.approx(p) and result.level == pytest.approx(0.025)


def test_what_these_seeds_could_have_shown():
    """t' with 2 degrees of freedom exceeds t(0.975, 2) in four of five cases at this difference."""
    result = judge(claim(), a=[50.5, 50.0, 49.5], b=[50.0, 50.0, 50.0])
    assert result.smallest is not None
    ratio = result.smallest / (0.5 / math.sqrt(3))
    assert scipy.stats.nct.sf(4.30265, 2, ratio) == pytest.approx(0.8, abs=1e-4)
    assert f"these seeds could have shown {result.smallest:.2f}" in result.basis


def test_seeds_that_mean_different_things_are_not_paired():
    """Seed by seed the differences are all 3; as two samples they scatter by 10 each."""
    a, b = [43.0, 53.0, 63.0], [40.0, 50.0, 60.0]
    (result,) = judge_claims(
        [claim()], runs("unlike", a=a, b=b), PUBLISHED, MARGIN, comparable=False
    )
    assert result.verdict == "undecided" and "3 seeds, not paired" in result.basis
    t = scipy.stats.ttest_ind(a, b, equal_var=False).statistic
    assert result.p == pytest.approx(scipy.stats.t.sf(t, 2))
    assert judge(claim(), a=a, b=b).verdict == "supported"


@pytest.mark.parametrize(
    ("of_a", "of_b", "paired"),
    [
        (("x0", "x1", "x2"), ("x0", "x1", "x2"), True),
        # Another network's, one for all seeds, none.
        (("x0", "x1", "x2"), ("y0", "y1", "y2"), False),
        (("x0", "x0", "x0"), ("x0", "x0", "x0"), False),
        (("", "", ""), ("", "", ""), False),
    ],
)
def test_a_backbone_of_the_seeds_own_pairs_unlike_trainings(of_a, of_b, paired):
    found = runs("unlike", a=[43.0, 53.0, 63.0], b=[40.0, 50.0, 60.0])
    for cell, backbones in (("a", of_a), ("b", of_b)):
        both = zip(found[cell], backbones, strict=True)
        found[cell] = [replace(run, backbone=backbone) for run, backbone in both]
    (result,) = judge_claims([claim()], found, PUBLISHED, MARGIN, comparable=False)
    assert result.verdict == ("supported" if paired else "undecided")
    assert ("not paired" in result.basis) is not paired


def test_all_seeds_of_two_samples_count():
    """The seeds 2 and 3 of b stand beside no seed of a, and belong to its sample."""
    found = runs("unlike", a=[60.0, 61.0], b=[50.0, 51.0, 50.0, 51.0])
    (result,) = judge_claims([claim()], found, PUBLISHED, MARGIN, comparable=False)
    assert result.pairs[0].measured == pytest.approx(10.0)
    assert result.n == 2


def test_only_seeds_in_common_are_compared():
    result = judge(claim(), a=[90.0, 53.0, 54.0], b=[None, 50.0, 50.5])
    assert result.pairs[0].n == 2
    assert result.pairs[0].measured == pytest.approx(3.25)


def test_equal_differences_decide_without_spread():
    assert judge(claim(), a=[51.0, 52.0], b=[50.0, 51.0]).verdict == "supported"
    assert judge(claim(), a=[50.0, 51.0], b=[51.0, 52.0]).verdict == "contradicted"
    assert judge(claim(), a=[50.0, 51.0], b=[50.0, 51.0]).verdict == "undecided"


@pytest.mark.parametrize(
    ("a", "b", "c", "verdict", "words"),
    [
        (60.0, 55.0, 50.0, "supported", "Of 2 differences 2 above zero; the weakest: a − b"),
        (60.0, 55.0, 54.0, "undecided", "2 above zero; the weakest: b − c = +1.00"),
        (50.0, 55.0, 54.0, "contradicted", "1 above zero; the clearest: a − b = -5.00"),
        (60.0, 55.0, 60.0, "contradicted", "1 above zero; the clearest: b − c = -5.00"),
    ],
)
def test_all_pairs_must_be_shown_and_one_can_contradict(a, b, c, verdict, words):
    result = judge(claim(*PAIRS), a=[a], b=[b], c=[c])
    assert result.verdict == verdict
    assert words in result.basis


def test_p_values_of_a_conjunction():
    """All must be shown: the largest p-value. One opposite is enough: the smallest, twice."""
    a, b, c = [60.0, 60.4, 60.8], [55.0, 55.2, 55.7], [54.0, 53.9, 55.0]
    shown = judge(claim(*PAIRS), a=a, b=b, c=c)
    each = [scipy.stats.ttest_rel(x, y, alternative="greater").pvalue for x, y in ((a, b), (b, c))]
    assert shown.p == pytest.approx(max(each))
    refuted = judge(claim(("c", "a"), ("c", "b")), a=a, b=b, c=c)
    each = [scipy.stats.ttest_rel(c, y, alternative="less").pvalue for y in (a, b)]
    assert refuted.verdict == "contradicted"
    assert refuted.p == pytest.approx(2 * min(each))
    # Its interval ends where the difference alone would have to.
    pair = refuted.pairs[0]
    assert pair.high is not None and pair.high < 0


@pytest.mark.parametrize(
    ("a", "b", "c", "verdict"),
    [
        (56.0, 55.0, 50.0, "supported"),  # +1 and +5: +3 on the average
        (55.0, 56.0, 53.0, "undecided"),  # -1 and +3: +1
        (50.0, 55.0, 54.0, "undecided"),  # -5 and +1: -2
        (49.0, 55.0, 54.0, "contradicted"),  # -6 and +1: -2.5
    ],
)
def test_on_the_average(a, b, c, verdict):
    result = judge(claim(*PAIRS, mode="mean"), a=[a], b=[b], c=[c])
    assert result.verdict == verdict
    assert result.basis.startswith("Mean of 2 differences")
    # Published: +0.63 and +1.22.
    assert "the paper's +0.93" in result.basis or "the paper's +0.92" in result.basis


def test_the_average_is_taken_within_each_seed():
    # Each pair swings by 4 between the seeds, against the other: their average is 1 in both.
    result = judge(
        claim(("a", "c"), ("b", "c"), mode="mean"), a=[53.0, 49.0], b=[49.0, 53.0], c=[50.0, 50.0]
    )
    assert result.verdict == "supported"
    assert result.basis.startswith("Mean of 2 differences +1.00 [+1.00, +1.00], 2 seeds")
    both = judge(claim(("a", "c"), ("b", "c")), a=[53.0, 49.0], b=[49.0, 53.0], c=[50.0] * 2)
    assert both.verdict == "undecided"


@pytest.mark.parametrize(
    ("a", "within", "verdict"),
    [
        (50.1, 2.5, "supported"),  # [-1.9, 2.1] lies within 2.5
        (50.1, 2.0, "undecided"),  # and sticks out of 2
        (53.0, 2.5, "undecided"),  # [1, 5] overlaps
        (55.0, 2.5, "contradicted"),  # [3, 7] lies outside
        (45.0, 2.5, "contradicted"),
    ],
)
def test_similar(a, within, verdict):
    result = judge(claim(mode="similar", within=within), a=[a], b=[50.0])
    assert result.verdict == verdict
    assert f"within ±{within:g}" in result.basis


def test_similar_is_two_one_sided_tests():
    """Differences of mean 0.5 and s = 0.1: within 1 by the worse of the two tests."""
    a, b = [50.4, 50.5, 50.6], [50.0, 50.0, 50.0]
    result = judge(claim(mode="similar", within=1.0), a=a, b=b)
    worse = scipy.stats.ttest_1samp([0.4, 0.5, 0.6], 1.0, alternative="less").pvalue
    assert result.verdict == "supported" and result.p == pytest.approx(worse)
    outside = judge(claim(mode="similar", within=0.1), a=a, b=b)
    beyond = scipy.stats.ttest_1samp([0.4, 0.5, 0.6], 0.1, alternative="greater").pvalue
    assert outside.p == pytest.approx(2 * beyond)


def test_similar_needs_every_pair():
    of = claim(("a", "c"), ("b", "c"), mode="similar", within=2.5)
    assert judge(of, a=[50.0], b=[50.2], c=[50.0]).verdict == "supported"
    assert judge(of, a=[50.0], b=[52.0], c=[50.0]).verdict == "undecided"
    assert judge(of, a=[50.0], b=[56.0], c=[50.0]).verdict == "contradicted"


@pytest.mark.parametrize(
    ("a", "verdict"),
    [
        (60.0, "supported"),  # better is no worse
        (51.7, "supported"),  # [-0.3, 3.7] with a margin of 2
        (50.0, "undecided"),  # [-2, 2]
        (47.5, "contradicted"),  # [-4.5, -0.5]
    ],
)
def test_no_worse_has_one_side(a, verdict):
    result = judge(claim(mode="no worse", within=0.4), a=[a], b=[50.0])
    assert result.verdict == verdict
    assert "to be above -0.4." in result.basis


def test_no_worse_is_one_one_sided_test():
    result = judge(claim(mode="no worse", within=0.5), a=[49.9, 50.0, 50.2], b=[50.0, 50.0, 50.0])
    p = scipy.stats.ttest_1samp([-0.1, 0.0, 0.2], -0.5, alternative="greater").pvalue
    assert result.verdict == "supported" and result.p == pytest.approx(p)


def test_where_the_margin_decides_the_difference_that_decides_is_named():
    """Three seeds of two cells, one of the third: all is held to the margin, and b - c fails."""
    a, b, c = [60.0, 61.0, 60.5], [55.0, 55.5, 55.2], [61.0]
    result = judge(claim(*PAIRS), a=a, b=b, c=c)
    assert result.verdict == "contradicted"
    assert "the clearest: b − c = -6.00" in result.basis
    assert "Some cells have one seed: all are held to the declared margin of 2." in result.basis


@pytest.mark.parametrize(
    ("gain", "comparable", "verdict"),
    [
        (1.4, True, "supported"),
        (4.0, True, "contradicted"),  # a gain, but not of about 1.39
        (4.0, False, "supported"),  # sizes are not the paper's: the sign is what is judged
        (-1.0, True, "contradicted"),
    ],
)
def test_a_gain_of_about(gain, comparable, verdict):
    of = claim(by=1.39, within=1.0)
    a = [50 + gain, 51 + gain, 52.1 + gain]
    result = judge(of, comparable=comparable, a=a, b=[50.0, 51.05, 52.0])
    assert result.verdict == verdict
    assert ("to be above 0.39, below 2.39." in result.basis) == comparable


def test_a_small_gain_must_still_be_one():
    """0.12 within 1 leaves room below zero: there the sign decides."""
    sides = [(one.side, one.bound) for one in conditions(claim(by=0.12, within=1), comparable=True)]
    assert sides == [("above", 0.0), ("below", 1.12)]
    lost = judge(claim(by=0.12, within=1.0), comparable=True, a=[49.7, 49.71], b=[50.0, 50.0])
    assert lost.verdict == "contradicted" and "to be above 0, below 1.12." in lost.basis


def test_the_claims_of_a_table_are_one_family():
    """p = 0.0124 alone is under 0.025; beside a claim that fails, under 0.0125 still; beside two
    that do, over 0.05 / 6.
    """
    half = scipy.stats.t.isf(0.0124, 2) / math.sqrt(3)
    a = [50 + half - 1, 50 + half, 50 + half + 1]  # s = 1 against constants
    of, null = claim(), claim(("c", "b"))
    values = runs(a=a, b=[50.0] * 3, c=[49.0, 50.0, 51.0])
    for others, verdict in ((0, "supported"), (1, "supported"), (2, "undecided")):
        first, *rest = judge_claims(
            [of, *[null] * others], values, PUBLISHED, MARGIN, comparable=False
        )
        assert first.verdict == verdict
        assert first.level == pytest.approx(0.05 / (2 * (1 + others)))
        assert {one.verdict for one in rest} <= {"undecided"}


def test_a_claim_that_is_not_measured_yet_is_counted():
    """A table's bar does not move as its cells come in."""
    first, second = judge_claims(
        [claim(), claim(("b", "c"))],
        runs(a=[52.0, 52.5], b=[50.0, 50.0], c=[None]),
        PUBLISHED,
        MARGIN,
        comparable=False,
    )
    assert first.level == pytest.approx(0.05 / 4)
    assert second.verdict == "not run" and second.p is None


def test_false_alarms_in_a_table_of_equal_cells():
    """Five claims, all cells equal: at most one table in twenty has a verdict, by simulation."""
    claims = [claim(*pairs) for pairs in ((("a", "b"),), (("b", "c"),), (("c", "a"),), PAIRS)]
    claims.append(claim(*PAIRS, mode="mean"))
    generator = np.random.default_rng(0)
    draws = 1500
    alarms = 0
    for row in generator.normal(60, 0.6, (draws, 3, 3)).tolist():
        values = dict(zip("abc", row, strict=True))
        judged = judge_claims(claims, runs(**values), PUBLISHED, MARGIN, comparable=False)
        alarms += any(one.verdict != "undecided" for one in judged)
    assert 0 < alarms / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)


def test_a_cell_that_is_not_measured_is_named():
    result = judge(claim(*PAIRS), a=[60.0], b=[None])
    assert result.verdict == "not run"
    assert result.basis == "Not measured: b, c."
    assert [pair.measured for pair in result.pairs] == [None, None]
    assert [pair.n for pair in result.pairs] == [0, 0]


@pytest.mark.parametrize("mode", ["all", "mean"])
def test_seeds_that_do_not_meet(mode):
    result = judge(claim(mode=mode), a=[60.0, None], b=[None, 50.0])
    assert result.verdict == "not run"
    assert "No seed in common" in result.basis


def test_an_average_needs_a_seed_that_all_pairs_share():
    result = judge(
        claim(("a", "b"), ("a", "c"), mode="mean"), a=[60.0, 60.0], b=[50.0, None], c=[None, 50.0]
    )
    assert result.verdict == "not run"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["all", "mean", "similar", "no worse"])
def test_what_is_no_number_settles_nothing(value, mode):
    of = claim(mode=mode, within=90.0)
    assert judge(of, a=[value], b=[50.0]).verdict == "not run"
    mixed = judge(of, a=[60.0, 61.0, value], b=[50.0, 51.0, 50.0])
    assert mixed.verdict == "undecided"
    assert "failed: a (seed 2)" in mixed.basis


def test_survivors_of_a_divergence_settle_nothing():
    found = {
        "a": [SeedRun(seed=0, miou=60.0), SeedRun(seed=1, failure="loss is nan")],
        "b": [SeedRun(seed=0, miou=50.0), SeedRun(seed=1, miou=50.0)],
    }
    (result,) = judge_claims([claim()], found, PUBLISHED, MARGIN, comparable=False)
    assert result.verdict == "undecided"
    assert result.basis.endswith("but failed: a (seed 1).")


def test_a_claim_keeps_its_words():
    result = judge(claim(), a=[60.0], b=[50.0])
    assert (result.says, result.where, result.kind) == ("a is better", "section 4.3", "greater")
