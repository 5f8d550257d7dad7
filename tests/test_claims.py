"""Claims on hand-worked differences: each kind, each verdict, and what is missing."""

import math
from typing import Any

import pytest

from replication.claims import judge_claim
from replication.results import ClaimResult, SeedRun
from replication.spec import Claim

PUBLISHED = {"a": 77.21, "b": 76.58, "c": 75.36}
MARGIN = 2.0


def claim(*pairs: tuple[str, str], mode: str = "all", within: float | None = None) -> Claim:
    fields: dict[str, Any] = {
        "says": "a is better",
        "where": "section 4.3",
        "kind": "similar" if mode == "similar" else "greater",
        "mode": mode,
        "pairs": pairs or (("a", "b"),),
        "within": within,
    }
    return Claim(**fields)


def judge(of: Claim, margin: float = MARGIN, **values: list[float | None]) -> ClaimResult:
    runs = {
        cell: [SeedRun(seed=seed, miou=value) for seed, value in enumerate(column)]
        for cell, column in values.items()
    }
    return judge_claim(of, runs, PUBLISHED, margin)


# One seed, margin 2: the difference must leave the margin to either side.
@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(2.1, "holds"), (2.0, "undecided"), (0.0, "undecided"), (-2.0, "undecided"), (-2.1, "fails")],
)
def test_a_single_seed(difference, verdict):
    result = judge(claim(), a=[50 + difference], b=[50.0])
    assert result.verdict == verdict
    (pair,) = result.pairs
    assert (pair.a, pair.b, pair.n, pair.published) == ("a", "b", 1, 0.63)
    assert pair.measured == pytest.approx(difference)
    assert (pair.low, pair.high) == pytest.approx((difference - 2, difference + 2))
    assert "single seed" in result.basis and "the paper's +0.63" in result.basis


# Three seeds with differences d - 0.5, d, d + 0.5: s = 0.5, t(0.95, 2) = 2.920, so the mean is
# known to 2.920 * 0.5 / sqrt(3) = 0.843. The level of each seed cancels.
@pytest.mark.parametrize(
    ("d", "verdict"), [(0.85, "holds"), (0.83, "undecided"), (-0.83, "undecided"), (-0.85, "fails")]
)
def test_three_seeds_are_paired(d, verdict):
    level = [40.0, 60.0, 50.0]
    a = [base + d + delta for base, delta in zip(level, (-0.5, 0.0, 0.5), strict=True)]
    result = judge(claim(), a=a, b=[*level])
    assert result.verdict == verdict
    (pair,) = result.pairs
    assert pair.n == 3
    assert pair.low == pytest.approx(d - 0.8429, abs=1e-4)
    assert pair.high == pytest.approx(d + 0.8429, abs=1e-4)
    assert "3 seeds" in result.basis


def test_only_seeds_in_common_are_compared():
    result = judge(claim(), a=[90.0, 53.0, 54.0], b=[None, 50.0, 50.5])
    assert result.pairs[0].n == 2
    assert result.pairs[0].measured == pytest.approx(3.25)


def test_equal_differences_decide_without_spread():
    assert judge(claim(), a=[51.0, 52.0], b=[50.0, 51.0]).verdict == "holds"
    assert judge(claim(), a=[50.0, 51.0], b=[51.0, 52.0]).verdict == "fails"
    assert judge(claim(), a=[50.0, 51.0], b=[50.0, 51.0]).verdict == "undecided"


PAIRS = (("a", "b"), ("b", "c"))


@pytest.mark.parametrize(
    ("a", "b", "c", "verdict", "counts"),
    [
        (60.0, 55.0, 50.0, "holds", "Of 2 differences 2 hold; the weakest"),
        (60.0, 55.0, 54.0, "undecided", "1 hold, 1 undecided; the weakest: b − c = +1.00"),
        (50.0, 55.0, 54.0, "fails", "1 undecided, 1 fail; the clearest: a − b = -5.00"),
        (60.0, 55.0, 60.0, "fails", "1 hold, 1 fail; the clearest: b − c = -5.00"),
    ],
)
def test_all_pairs_must_hold_and_one_can_fail(a, b, c, verdict, counts):
    result = judge(claim(*PAIRS), a=[a], b=[b], c=[c])
    assert result.verdict == verdict
    assert counts in result.basis


@pytest.mark.parametrize(
    ("a", "b", "c", "verdict"),
    [
        (56.0, 55.0, 50.0, "holds"),  # +1 and +5: +3 on the average
        (55.0, 56.0, 53.0, "undecided"),  # -1 and +3: +1
        (50.0, 55.0, 54.0, "undecided"),  # -5 and +1: -2
        (49.0, 55.0, 54.0, "fails"),  # -6 and +1: -2.5
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
    assert result.verdict == "holds"
    assert result.basis.startswith("Mean of 2 differences +1.00 [+1.00, +1.00], 2 seeds")
    assert judge(
        claim(("a", "c"), ("b", "c")), a=[53.0, 49.0], b=[49.0, 53.0], c=[50.0] * 2
    ).verdict


@pytest.mark.parametrize(
    ("a", "within", "verdict"),
    [
        (50.1, 2.5, "holds"),  # [-1.9, 2.1] lies within 2.5
        (50.1, 2.0, "undecided"),  # and sticks out of 2
        (53.0, 2.5, "undecided"),  # [1, 5] overlaps
        (55.0, 2.5, "fails"),  # [3, 7] lies outside
        (45.0, 2.5, "fails"),
    ],
)
def test_similar(a, within, verdict):
    result = judge(claim(mode="similar", within=within), a=[a], b=[50.0])
    assert result.verdict == verdict
    assert f"within ±{within:g}" in result.basis


def test_similar_needs_every_pair():
    of = claim(("a", "c"), ("b", "c"), mode="similar", within=2.5)
    assert judge(of, a=[50.0], b=[50.2], c=[50.0]).verdict == "holds"
    assert judge(of, a=[50.0], b=[52.0], c=[50.0]).verdict == "undecided"
    assert judge(of, a=[50.0], b=[56.0], c=[50.0]).verdict == "fails"


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
@pytest.mark.parametrize("mode", ["all", "mean", "similar"])
def test_what_is_no_number_never_holds(value, mode):
    of = claim(mode=mode, within=90.0)
    assert judge(of, a=[value], b=[50.0]).verdict == "not run"
    mixed = judge(of, a=[60.0, 61.0, value], b=[50.0, 51.0, 50.0])
    assert mixed.verdict == "undecided"
    assert "failed: a (seed 2)" in mixed.basis


def test_survivors_of_a_divergence_settle_nothing():
    runs = {
        "a": [SeedRun(seed=0, miou=60.0), SeedRun(seed=1, failure="loss is nan")],
        "b": [SeedRun(seed=0, miou=50.0), SeedRun(seed=1, miou=50.0)],
    }
    result = judge_claim(claim(), runs, PUBLISHED, MARGIN)
    assert result.verdict == "undecided"
    assert result.basis.endswith("but failed: a (seed 1).")


def test_a_claim_keeps_its_words():
    result = judge(claim(), a=[60.0], b=[50.0])
    assert (result.says, result.where, result.kind) == ("a is better", "section 4.3", "greater")
