"""Seeds that claims need, against scipy's distributions, published figures, and simulation."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from replication.arguments import HOME
from replication.asked import Asked
from replication.cost import Prices
from replication.data.sources import Sources
from replication.plan import Plan, build
from replication.power import look_ahead
from replication.results import SeedRun
from replication.run import main
from replication.runs import Store
from replication.spec import Claim, load_tables
from replication.tiers import load_tier

TABLE = next(table for table in load_tables(HOME / "tables") if table.number == 9)
# Its cells batch4 to batch16, published as 64.43, 75.76, 76.49 and 77.21.
A, B, C, D = "batch16", "batch12", "batch8", "batch4"
SMOKE = load_tier("smoke", HOME / "tiers")


def claim(*pairs, mode="all", by=None, within=None):
    return Claim(
        says="a is better",
        where="section 4.3",
        kind="similar" if mode == "similar" else "greater",
        mode=mode,
        pairs=pairs or ((A, B),),
        by=by,
        within=within,
    )


def prospects(*claims, runs=None, comparable=False, deviation=None, **values):
    """The prospects of a table with these claims and mIoU; None is a seed that did not run."""
    tier = replace(SMOKE, comparable=comparable)
    plan = build([replace(TABLE, claims=claims)], tier, Sources.of(tier.data, {}), [0, 1, 2])
    prices = Prices(plan=plan, further=replace(plan, runs=()), store=Store(HOME / "no-such"))
    runs = runs or {
        cell: [SeedRun(seed=seed, miou=value) for seed, value in enumerate(column)]
        for cell, column in values.items()
    }
    return look_ahead(prices, {9: runs}, deviation=deviation).prospects


def three_seeds(mean, deviation):
    """Three values of this mean whose deviation is this."""
    return [mean - deviation, mean, mean + deviation]


def power(n, effect, level):
    """The chance that a one-sided t-test on n pairs shows a difference of `effect` deviations."""
    return stats.nct.sf(stats.t.ppf(1 - level, n - 1), n - 1, effect * math.sqrt(n))


def needed(effect, level):
    return next(n for n in range(2, 10_000) if power(n, effect, level) >= 0.8)


# One claim is held to 0.05 / 2. The numbers of pairs for a two-sided test at 0.05 and 80 % power
# that the literature tabulates for standardised differences of 1, 0.8, 0.5 and 0.2.
@pytest.mark.parametrize(("effect", "n"), [(1.0, 10), (0.8, 15), (0.5, 34), (0.2, 199)])
def test_published_numbers_of_pairs(effect, n):
    (one,) = prospects(claim(), batch16=three_seeds(50 + effect, 1.0), batch12=[50.0] * 3)
    assert (one.state, one.seeds, one.n, one.level) == ("needs", n, 3, 0.025)
    assert one.difference == pytest.approx(effect) and one.deviation == pytest.approx(1.0)
    assert not one.opposite and not one.assumed and one.decides == "batch16 − batch12"


def test_more_claims_need_more_seeds():
    values = {"batch16": three_seeds(50.8, 1.0), "batch12": [50.0] * 3}
    found = [prospects(*[claim()] * count, **values)[0] for count in (1, 2, 5)]
    assert [one.level for one in found] == pytest.approx([0.05 / 2, 0.05 / 4, 0.05 / 10])
    assert [one.seeds for one in found] == [needed(0.8, 0.05 / (2 * k)) for k in (1, 2, 5)]


def test_simulated_with_that_many_seeds_the_power_is_eighty_percent():
    (one, _) = prospects(
        claim(), claim(), batch16=three_seeds(50.9, 0.6), batch12=three_seeds(50.0, 0.1)
    )
    rng = np.random.default_rng(0)

    def simulated(n):
        d = rng.normal(one.difference, one.deviation, (40_000, n))
        t = d.mean(1) / (d.std(1, ddof=1) / math.sqrt(n))
        return (stats.t.sf(t, n - 1) <= 0.05 / 4).mean()

    # Four standard errors of the simulation: 0.008.
    assert simulated(one.seeds) > 0.8 - 0.008
    assert simulated(one.seeds - 1) < 0.8 + 0.008
    assert simulated(one.seeds - 2) < 0.8


def test_what_the_seeds_on_record_can_show():
    (one,) = prospects(claim(), batch16=three_seeds(50.5, 0.4), batch12=[50.0] * 3)
    shown = stats.nct.sf(
        stats.t.ppf(0.975, 2), 2, one.smallest / (0.4 / math.sqrt(3))
    )  # fmt: skip
    assert shown == pytest.approx(0.8, abs=1e-4)


def test_two_samples():
    """Seeds that mean something else in each cell: the error is that of both sides."""
    runs = {
        cell: [SeedRun(seed=s, miou=v, draws=cell) for s, v in enumerate(values)]
        for cell, values in {A: three_seeds(51.0, 0.6), B: three_seeds(50.0, 0.8)}.items()
    }
    (one,) = prospects(claim(), runs=runs)
    # sqrt(0.36 + 0.64), with the smaller side's degrees of freedom.
    assert one.deviation == pytest.approx(1.0)
    assert (one.state, one.seeds) == ("needs", 10)


def test_a_conjunction_needs_its_hardest_difference():
    pairs = ((A, B), (A, C))
    values = {"batch16": [50.0] * 3, "batch12": three_seeds(49.0, 1.0)}
    (one,) = prospects(claim(*pairs), batch8=three_seeds(49.5, 1.0), **values)
    assert (one.seeds, one.decides) == (34, "batch16 − batch8 (of 2)")
    # A small difference that hardly scatters is the easier one.
    (one,) = prospects(claim(*pairs), batch8=three_seeds(49.9, 0.01), **values)
    assert (one.seeds, one.decides) == (10, "batch16 − batch12 (of 2)")


def test_simulated_the_power_is_that_of_all_differences_together():
    """Two gaps alike: 80 % for each would be two thirds for both, were they independent."""
    # Gaps of 1 with a deviation of 1 each: the prospect takes what is seen for the truth.
    values = {"batch16": [52.0] * 3, "batch12": three_seeds(51.0, 1.0), "batch8": [50.0] * 3}
    alone = prospects(claim((A, B)), **values)[0].seeds
    (one,) = prospects(claim((A, B), (B, C)), **values)
    assert alone == needed(1.0, 0.025) and one.seeds > alone
    rng, level = np.random.default_rng(0), 0.025

    def simulated(n, shared):
        d = rng.normal(size=(20_000, 2, n))
        if shared:
            d[:, 1] = d[:, 0]
        d += 1.0
        t = d.mean(2) / (d.std(2, ddof=1) / math.sqrt(n))
        return (stats.t.sf(t, n - 1) <= level).all(1).mean()

    # Four standard errors of the simulation: 0.011.
    assert simulated(one.seeds, shared=False) > 0.8 - 0.011
    assert simulated(one.seeds - 2, shared=False) < 0.8
    assert simulated(one.seeds, shared=True) > 0.8
    assert simulated(alone, shared=False) < 0.75


def test_one_difference_the_other_way_is_enough():
    values = {"batch16": [50.0] * 3, "batch12": three_seeds(49.0, 1.0)}
    (one,) = prospects(claim((A, B), (A, C)), batch8=three_seeds(50.5, 1.0), **values)
    # Either of two would contradict the claim, so each is held to half its level.
    assert (one.state, one.opposite, one.seeds) == ("needs", True, needed(0.5, 0.0125))
    assert one.decides == "batch16 − batch8 (of 2)" and one.difference == pytest.approx(-0.5)


def test_what_is_shown_needs_nothing():
    better = {"batch16": three_seeds(60.0, 0.1), "batch12": [50.0] * 3}
    (one,) = prospects(claim(), **better)
    assert (one.state, one.verdict, one.opposite) == ("shown", "supported", False)
    assert one.seeds is None and one.cost is None
    (one,) = prospects(claim((B, A)), **better)
    assert (one.state, one.verdict, one.opposite) == ("shown", "contradicted", True)


def test_no_difference_and_a_tiny_one():
    (one,) = prospects(claim(), batch16=three_seeds(50.0, 1.0), batch12=[50.0] * 3)
    assert (one.state, one.seeds) == ("level", None)
    (one,) = prospects(claim(), batch16=three_seeds(50.01, 1.0), batch12=[50.0] * 3)
    assert (one.state, one.seeds) == ("too many", None)


def test_within_a_bound_the_room_counts():
    values = {"batch16": three_seeds(50.5, 1.0), "batch12": [50.0] * 3}
    # 0.5 of 1.5 leaves 1.0; of 0.3 it is 0.2 too much, and either bound would contradict.
    (one,) = prospects(claim(mode="similar", within=1.5), **values)
    assert (one.state, one.opposite, one.seeds) == ("needs", False, 10)
    (one,) = prospects(claim(mode="similar", within=0.3), **values)
    assert (one.state, one.opposite, one.seeds) == ("needs", True, needed(0.2, 0.0125))


def test_a_gains_size_counts_where_numbers_are_comparable():
    values = {"batch16": three_seeds(51.0, 1.0), "batch12": [50.0] * 3}
    stated = claim(by=0.72, within=0.78)
    (one,) = prospects(stated, comparable=False, **values)
    assert (one.seeds, one.published) == (10, None)
    # To stay below 0.72 + 0.78 there is room for 0.5.
    (one,) = prospects(stated, comparable=True, **values)
    assert (one.seeds, one.published) == (34, pytest.approx(0.72))


def test_a_mean_is_one_difference():
    # Per seed -1.5, +1, +3.5 and +3.5, +1, -1.5: the mean is 1 in all, its deviation 0.
    (one,) = prospects(
        claim((A, B), (C, D), mode="mean"),
        batch16=three_seeds(51.0, 2.5), batch12=[50.0] * 3,
        batch8=three_seeds(51.0, 2.5)[::-1], batch4=[50.0] * 3,
    )  # fmt: skip
    assert (one.state, one.decides) == ("shown", "mean of 2 differences")
    assert one.deviation == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("values", [{}, {"batch16": [51.0], "batch12": [50.0]}])
def test_without_two_seeds_nothing_is_said(values):
    (one,) = prospects(claim(), **values)
    assert one.state == "no deviation" and one.seeds is one.deviation is one.smallest is None
    assert one.n == (1 if values else 0)
    assert one.difference == (1.0 if values else None)


def test_an_assumed_deviation_plans_for_the_papers_differences():
    """77.21 - 76.49 = 0.72 against sqrt(2) * 0.7."""
    (one,) = prospects(claim(), comparable=True, deviation=0.7)
    assert one.assumed and one.deviation == pytest.approx(0.7 * math.sqrt(2))
    assert (one.state, one.published, one.difference) == ("needs", 0.72, None)
    assert one.seeds == needed(0.72 / (0.7 * math.sqrt(2)), 0.025)


def test_an_assumed_deviation_elsewhere_needs_a_difference():
    (one,) = prospects(claim(), deviation=1 / math.sqrt(2))
    assert one.state == "no deviation" and "nothing is measured" in one.remark
    (one,) = prospects(claim(), deviation=1 / math.sqrt(2), batch16=[51.0], batch12=[50.0])
    assert (one.assumed, one.seeds, one.n) == (True, 10, 1)
    # What is on record comes first.
    (one,) = prospects(
        claim(), deviation=9.0, batch16=three_seeds(51.0, 1.0), batch12=[50.0] * 3
    )  # fmt: skip
    assert (one.assumed, one.seeds) == (False, 10)


@pytest.mark.parametrize("pairs", [((A, B), (C, D)), ((A, C), (B, C)), ((A, B), (B, C))])
def test_the_mean_of_differences_that_share_cells_scatters_so(pairs):
    (one,) = prospects(claim(*pairs, mode="mean"), comparable=True, deviation=1.0)
    drawn = dict(zip((A, B, C, D), np.random.default_rng(0).normal(size=(4, 200_000)), strict=True))
    simulated = np.mean([drawn[a] - drawn[b] for a, b in pairs], axis=0).std()
    assert one.deviation == pytest.approx(simulated, rel=0.01)


def test_a_failure_is_not_mended_by_seeds():
    runs = {
        A: [SeedRun(seed=0, failure="the loss is nan"), SeedRun(seed=1, miou=51.0)],
        B: [SeedRun(seed=0, miou=50.0), SeedRun(seed=1, miou=50.0)],
    }
    (one,) = prospects(claim(), runs=runs)
    assert one.state == "not by seeds" and one.remark == "failed: batch16 (seed 0)"


def test_what_cannot_be_measured_is_not_mended_by_seeds():
    tables = [table for table in load_tables(HOME / "tables") if table.number == 7]
    plan = build(tables, SMOKE, Sources.of(SMOKE.data, {}), [0])
    prices = Prices(plan=plan, further=plan, store=Store(HOME / "no-such"))
    (one,) = look_ahead(prices, {}).prospects
    assert one.state == "not by seeds" and "deeplabv3-jft" in one.remark


@pytest.fixture
def on_record(tmp_path, monkeypatch):
    """Table 4 with three seeds and Table 9 with one, at 10 s a training and 2 s a sweep.

    os8 - os16 is 0.5, 1.0 and 1.5; os8-ms-flip - os8-ms is -0.5, 0 and 1; os8-ms - os8 is 40.
    """
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "cache"))
    # Of these records there are only the outcomes.
    monkeypatch.setattr(Asked, "examined", lambda self, plan: {})
    store = Store(tmp_path / "results" / "smoke")
    store.prepare()
    by_cell = {
        "os16": [9.5, 9.0, 8.5],
        "os8": [10.0] * 3,
        "os8-ms": [50.0] * 3,
        "os8-ms-flip": [49.5, 50.0, 51.0],
    }

    def finish(plan: Plan):
        for run in plan.runs:
            for step in run.steps:
                if store.status(step) == "done":
                    continue
                outcome = {"status": "done", "seconds": 10.0}
                if step is run.evaluation:
                    values = by_cell.get(run.cell, [20.0])
                    outcome |= {"miou": values[run.seed], "per_class": {}, "seconds": 2.0}
                store.begin(step)
                store.finish(step, outcome)

    sources = Sources.of(SMOKE.data, {})
    for number, seeds in ((4, [0, 1, 2]), (9, [0])):
        tables = [table for table in load_tables(HOME / "tables") if table.number == number]
        finish(build(tables, SMOKE, sources, seeds))
    return ["--results", str(tmp_path / "results"), "--tier", "smoke", "--dry-run", "--power"]


def test_the_command_in_json(on_record, capsys):
    assert main(["--table", "4", "--table", "9", *on_record, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = printed["power"]
    gain, order, *of_table_9 = found["prospects"]
    # Two claims: 0.05 / 4. 1.0 with a deviation of 0.5, and 1/6 with one of 0.7638.
    assert gain["seeds"] == needed(2.0, 0.0125)
    assert order["decides"] == "os8-ms-flip − os8-ms (of 2)"
    assert order["seeds"] == needed(1 / 6 / math.sqrt(7 / 12), 0.0125)
    # Of the three seeds on record nothing runs again; each further one is a pretraining, a
    # training and a sweep.
    for one, strategies in ((gain, 2), (order, 3)):
        further = one["seeds"] - 3
        assert one["cost"] == {
            "trainings": 2 * further,
            "evaluations": strategies * further,
            "seconds": pytest.approx((10.0 + 10.0 + 2.0) * further),
            "untimed": 0,
        }
    # The trainings of the first claim are among the second's; os16's evaluations are not.
    assert found["total"]["trainings"] == order["cost"]["trainings"]
    assert found["total"]["seconds"] == pytest.approx(order["cost"]["seconds"])
    more = gain["seeds"] - 3
    assert found["total"]["evaluations"] == order["cost"]["evaluations"] + more
    # One seed more of Table 9's four cells, whose pretraining Table 4's seeds have.
    assert {one["state"] for one in of_table_9} == {"no deviation"}
    assert (found["unknown"], found["first_seeds"]) == ([9], 2)
    assert found["first_cost"] == {
        "trainings": 4, "evaluations": 4, "seconds": pytest.approx(48.0), "untimed": 0,
    }  # fmt: skip
    assert found["command"].startswith("python -m replication.run --table 9 --tier smoke --seeds 2")
    assert len(printed["cells"]) == 3 * 8


def test_the_command_for_people(on_record, capsys):
    assert main(["--table", "4", "--cell", "table9/batch4", *on_record]) == 0
    printed = capsys.readouterr().out
    words = " ".join(printed.split())
    assert f"{needed(2.0, 0.0125)} seeds" in words
    assert "3 +1.00 0.50" in words and "no deviation yet" in words
    # Of Table 9, the claim that is about batch4; both are.
    assert "4 claims: 2 to be decided by more seeds, 2 without a deviation yet" in words
    assert "--table 9 --tier smoke --seeds 2 --results" in printed
    assert not any(len(line) > 120 for line in printed.splitlines() if "--table" not in line)
    assert main(["--cell", "table4/os16", *on_record]) == 0
    assert "1 claim: 1 to be decided" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--power"], "--power: goes with --dry-run"),
        (["--dry-run", "--deviation", "0.7"], "--deviation: goes with --dry-run --power"),
        (["--dry-run", "--power", "--deviation", "0"], "--deviation 0: must be above 0"),
        (["--dry-run", "--power", "--deviation", "-1"], "--deviation -1: must be above 0"),
        (["--dry-run", "--power", "--deviation", "nan"], "--deviation nan: must be above 0"),
        (["--dry-run", "--power", "--seeds", "3"], "--seeds: not with --power"),
    ],
)
def test_a_mistaken_request_is_one_line(arguments, said, capsys, tmp_path):
    where = ["--tier", "smoke", "--results", str(tmp_path / "r")]
    assert main(["--table", "4", *arguments, *where]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and len(printed.err.splitlines()) == 1 and not printed.out
    assert not (tmp_path / "r").exists()
