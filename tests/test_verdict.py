"""Verdicts on hand-worked cases."""

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from replication.protocol import Evaluation
from replication.results import Entered, Extra, LeakChecks, Measured, SeedRun
from replication.spec import Cell, Claim, Table
from replication.tiers import Tier
from replication.verdict import judge_cell, judge_published, judge_table
from tests.conftest import small_network

NETWORK = small_network()


def tier(**changes: Any) -> Tier:
    fields: dict[str, Any] = {
        "name": "tiny",
        "summary": "a small network on a generated set",
        "comparable": True,
        "threads": 1,
        "first_seed": 0,
        "seeds": 3,
        "data": {},
        "pretraining": None,
        "weights": "torchvision",
        "single_seed_margin": 2.0,
        "scales": {},
        "atrous_rates": 1.0,
        "training": {},
        "evaluation": {},
        "evaluation_splits": {},
        "stages": {},
        "backbones": {},
        "place": "",
    }
    return Tier(**{**fields, **changes})


def ours(cell_id: str = "a", published: float | None = 77.21, **changes: Any) -> Cell:
    fields = {"id": cell_id, "table": 5, "published": published, "network": NETWORK}
    return Cell(**{**fields, **changes})


def evaluation(split: str) -> Evaluation:
    return Evaluation(
        data="voc", split=split, output_stride=16, crop_size=33, scales=(1.0,), flip=False
    )


def runs(*values: float | None) -> list[SeedRun]:
    return [
        SeedRun(seed=seed, miou=value, training=(f"train-{seed}",), evaluation=f"evaluate-{seed}")
        for seed, value in enumerate(values)
    ]


def measured(*values: float) -> Measured:
    return Measured(values=values, seeds=tuple(range(len(values))))


# One seed: a tolerance of 1.0, both ends included.
@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (77.21, "reproduced"),
        (76.21, "reproduced"),
        (78.21, "reproduced"),
        (76.20, "below"),
        (78.22, "above"),
    ],
)
def test_a_single_seed_is_held_to_the_declared_tolerance(value, verdict):
    found, reason = judge_published(77.21, measured(value))
    assert found == verdict
    assert "single seed" in reason and "1.0" in reason


# Three seeds 76.7, 77.0, 77.3: m = 77, s = 0.3; t(0.975, 2) = 4.303, so the next run is expected
# within 4.303 * 0.3 * sqrt(4/3) = 1.4905 of 77: [75.51, 78.49].
@pytest.mark.parametrize(
    ("published", "verdict"),
    [
        (77.0, "reproduced"),
        (75.52, "reproduced"),
        (78.48, "reproduced"),
        (78.50, "below"),
        (75.50, "above"),
    ],
)
def test_three_seeds_predict_the_next_run(published, verdict):
    found, reason = judge_published(published, measured(76.7, 77.0, 77.3))
    assert found == verdict
    assert "[75.51, 78.49]" in reason and "3 seeds" in reason


def test_a_wide_interval_reproduces_nothing_but_can_still_exclude():
    # s = 1: half a width of 4.968, above 2.
    assert judge_published(77.0, measured(76.0, 77.0, 78.0))[0] == "inconclusive"
    assert judge_published(70.0, measured(76.0, 77.0, 78.0))[0] == "above"
    assert judge_published(84.0, measured(76.0, 77.0, 78.0))[0] == "below"
    # Two seeds 0.4 apart: t(0.975, 1) = 12.706; 12.706 * 0.2828 * sqrt(1.5) = 4.40.
    assert judge_published(77.0, measured(76.8, 77.2))[0] == "inconclusive"


def test_an_inconclusive_cell_says_how_many_seeds_would_decide_it():
    # s = 0.5: 4.303 * 0.5 * sqrt(4/3) = 2.48. Four reach 3.182 * 0.5 * sqrt(5/4) = 1.78.
    verdict, reason = judge_published(77.0, measured(76.5, 77.0, 77.5))
    assert verdict == "inconclusive"
    assert reason == (
        "one more run is expected in [74.52, 79.48] (77.00 ± 0.50, 3 seeds): it reaches 2.48 to "
        "either side, more than the declared 2.0; at this deviation 4 seeds in all would decide it"
    )
    # Five seeds, s = sqrt(10 / 4) = 1.58: 1.96 * 1.58 = 3.10 remains with any number.
    verdict, reason = judge_published(77.0, measured(75.0, 76.0, 77.0, 78.0, 79.0))
    assert verdict == "inconclusive"
    assert reason.endswith(
        "; no number of seeds would decide it at this deviation, since one run alone scatters by "
        "1.96 × 1.58 = 3.10"
    )


def checked(made: tuple[str, ...], lacking: tuple[str, ...], *values: float) -> list[SeedRun]:
    return [
        replace(run, leak_checks=LeakChecks(made=made, lacking=lacking)) for run in runs(*values)
    ]


def test_above_is_a_warning_that_names_the_leak_checks():
    three = checked(("ids", "the rule"), ("coco",), 76.7, 77.0, 77.3)
    result = judge_cell(ours(published=75.5), tier(), three)
    assert result.verdict == "above"
    assert result.reason == (
        "one more run is expected in [75.51, 78.49] (77.00 ± 0.30, 3 seeds); above is a warning: "
        "suspect a leak first; leak checks found nothing: ids, the rule; not checked: coco"
    )
    # What does not hold for every seed says for which.
    three[1] = replace(three[1], leak_checks=LeakChecks(made=("ids",), lacking=("coco", "a file")))
    reason = judge_cell(ours(published=75.5), tier(), three).reason
    assert reason.endswith(
        "found nothing: ids, the rule (seeds 0, 2); not checked: coco, a file (seed 1)"
    )
    # A seed that has not run was not checked, and has no say.
    waiting = [*checked(("ids",), (), 79.0), SeedRun(seed=1)]
    assert judge_cell(ours(), tier(), waiting).reason == (
        "single seed: +1.79 against a tolerance of 1.0; above is a warning: suspect a leak first; "
        "leak checks found nothing: ids; seed 1 not run"
    )


def test_above_without_a_leak_check_says_so():
    assert judge_cell(ours(), tier(), runs(79.0)).reason.endswith("; no leak check was made")


def test_no_other_verdict_speaks_of_leaks():
    for value in (77.0, 60.0):
        [given] = checked(("ids",), ("coco",), value)
        assert "leak" not in judge_cell(ours(), tier(), [given]).reason
    small = judge_cell(ours(), tier(comparable=False), checked(("ids",), (), 99.0))
    assert small.verdict == "not comparable" and "leak" not in small.reason


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((77.0,), "reproduced (single seed)"),
        ((70.0,), "below (single seed)"),
        ((80.0,), "above (single seed)"),
        ((77.2, 77.22), "reproduced"),
        ((), "not run"),
    ],
)
def test_a_single_seed_is_said_with_the_verdict(values, expected):
    assert judge_cell(ours(), tier(), runs(*values)).shown_verdict == expected


def test_a_single_seed_is_not_said_where_nothing_was_compared():
    result = judge_cell(ours(), tier(comparable=False), runs(77.0))
    assert result.shown_verdict == "not comparable"


def test_equal_seeds_are_a_point():
    assert judge_published(77.0, measured(77.0, 77.0))[0] == "reproduced"
    assert judge_published(77.1, measured(77.0, 77.0))[0] == "below"


@pytest.mark.parametrize("comparable", [True, False])
def test_a_finding_makes_a_cell_suspect_at_every_tier(comparable):
    seeds = [SeedRun(seed=0, miou=77.21, findings=("batch norm: x; expected: y",))]
    result = judge_cell(ours(), tier(comparable=comparable), seeds)
    assert result.verdict == "suspect" and "seed 0: batch norm: x" in result.reason


def test_only_a_comparable_tier_is_compared():
    result = judge_cell(ours(), tier(comparable=False), runs(77.21, 77.21))
    assert result.verdict == "not comparable"
    assert result.measured == measured(77.21, 77.21)
    assert judge_cell(ours(), tier(), runs(77.21, 77.21)).verdict == "reproduced"


@pytest.mark.parametrize("given", [(), runs(None, None)], ids=["no runs", "none finished"])
def test_not_run(given):
    result = judge_cell(ours(), tier(), given)
    assert (result.verdict, result.measured) == ("not run", None)
    assert result.reason


def test_seeds_still_to_run_are_named():
    result = judge_cell(ours(), tier(), runs(77.0, None, None))
    assert (result.verdict, result.measured) == ("reproduced", measured(77.0))
    assert result.reason.endswith("; seeds 1, 2 not run")


def test_a_failed_seed_fails_the_cell_and_the_others_stay_visible():
    given = [*runs(77.0), SeedRun(seed=1, failure="loss is nan at iteration 17")]
    result = judge_cell(ours(), tier(), given)
    assert result.verdict == "failed"
    assert result.reason == "seed 1: loss is nan at iteration 17"
    assert result.measured == measured(77.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_is_a_failure(value):
    result = judge_cell(ours(), tier(), runs(value))
    assert (result.verdict, result.measured) == ("failed", None)
    assert "seed 0" in result.reason


def test_rows_that_nobody_can_measure():
    other = ours(network=None, method="PSPNet")
    assert judge_cell(other, tier(), ()).verdict == "published only"
    assert judge_cell(other, tier(), ()).method == "PSPNet"
    jft = ours(network=None, label="DeepLabv3-JFT", unavailable="JFT-300M is not public")
    result = judge_cell(jft, tier(), ())
    assert (result.verdict, result.reason) == ("unavailable", "JFT-300M is not public")
    server = ours(
        unavailable="the server scores it", needs="test labels", evaluation=evaluation("test")
    )
    assert judge_cell(server, tier(), ()).verdict == "unavailable"
    assert (
        judge_cell(server, tier(data={"voc": "embedded:micro"}), runs(77.0)).verdict == "reproduced"
    )


def scored(seed: int, miou: float) -> SeedRun:
    """A test server's score that was entered by hand."""
    entered = Entered(seed=seed, miou=miou, evidence=f"mail {seed}", date="2024-03-01")
    return SeedRun(seed=seed, miou=miou, training=(f"train-{seed}",), entered=entered)


def by_server(**changes: Any) -> Cell:
    return ours(
        unavailable="the server scores it",
        needs="test labels",
        evaluation=evaluation("test"),
        **changes,
    )


def test_a_servers_score_is_judged_as_any_and_says_that_it_was_entered():
    result = judge_cell(by_server(), tier(), [scored(0, 76.5)])
    assert (result.verdict, result.measured) == ("reproduced", measured(76.5))
    assert result.reason == (
        "single seed: -0.71 against a tolerance of 1.0; entered by hand (mail 0, 2024-03-01)"
    )
    assert [one.miou for one in result.entered] == [76.5]
    assert judge_cell(by_server(), tier(), [scored(0, 76.0)]).verdict == "below"
    # The hand-worked interval of test_three_seeds_predict_the_next_run.
    three = [scored(seed, value) for seed, value in enumerate((76.7, 77.0, 77.3))]
    result = judge_cell(by_server(published=78.5), tier(), three)
    assert result.verdict == "below" and "[75.51, 78.49]" in result.reason
    assert result.reason.endswith(
        "; entered by hand: seed 0 (mail 0, 2024-03-01), seed 1 (mail 1, 2024-03-01), "
        "seed 2 (mail 2, 2024-03-01)"
    )
    small = judge_cell(by_server(), tier(comparable=False), [scored(0, 76.5)])
    assert small.verdict == "not comparable" and "entered by hand (mail 0" in small.reason


def test_without_a_score_the_row_stays_unavailable_and_says_how_it_stands():
    given = [SeedRun(seed=0, remark="trained; submit it"), SeedRun(seed=1, remark="")]
    result = judge_cell(by_server(), tier(), given)
    assert (result.verdict, result.measured, result.entered) == ("unavailable", None, ())
    assert result.reason == "the server scores it; trained; submit it"
    result = judge_cell(by_server(), tier(), [scored(0, 77.0), given[0], given[1]])
    assert result.verdict == "reproduced"
    assert "; seeds 0, 1 not scored; entered by hand (mail 0" in result.reason
    assert result.reason.endswith("; trained; submit it")
    failing = [scored(0, 77.0), SeedRun(seed=1, failure="loss is nan")]
    result = judge_cell(by_server(), tier(), failing)
    assert (result.verdict, result.measured) == ("failed", measured(77.0))
    assert result.reason == "seed 1: loss is nan; entered by hand (mail 0, 2024-03-01)"


def test_a_value_that_nobody_entered_does_not_open_an_unavailable_row():
    assert judge_cell(by_server(), tier(), runs(77.0)).verdict == "unavailable"


def test_steps_classes_and_further_quantities_are_carried():
    given = [
        replace(run, per_class={"cat": iou, "dog": dog, "cow": None}, extra={"relative_time": 0.5})
        for run, iou, dog in zip(runs(77.0, 77.2), (60.0, 70.0), (None, 50.0), strict=True)
    ]
    result = judge_cell(ours(also={"relative_time": 0.13}, note="a note"), tier(), given, bold=True)
    assert result.training == (("train-0",), ("train-1",))
    assert result.evaluation == ("evaluate-0", "evaluate-1")
    assert result.per_class == {"cat": 65.0, "dog": 50.0, "cow": None}
    assert result.extra == {"relative_time": Extra(published=0.13, measured=0.5)}
    assert (result.bold, result.note) == (True, "a note")
    # What the paper does not give is not shown.
    assert judge_cell(ours(), tier(), given).extra == {}


def table(**changes: Any) -> Table:
    fields: dict[str, Any] = {
        "number": 5,
        "title": "A title",
        "source": "section 4.3",
        "notes": ("a note",),
        "cells": (ours("a", 70.0), ours("b", 71.0)),
        "claims": (),
        "grid": None,
        "columns": (),
        "bold": "b",
    }
    return Table(**{**fields, **changes})


def test_a_table_with_its_claims_and_notice():
    claim = Claim(says="b is better", where="4.3", kind="greater", mode="all", pairs=(("b", "a"),))
    result = judge_table(
        table(claims=(claim,)),
        tier(comparable=False),
        {"a": runs(30.0, 31.0), "b": runs(40.0, 41.5)},
    )
    assert [cell.verdict for cell in result.cells] == ["not comparable"] * 2
    assert [cell.bold for cell in result.cells] == [False, True]
    assert [claim.verdict for claim in result.claims] == ["supported"]
    assert "tiny tier (a small network on a generated set)" in result.notice
    assert "not comparable with the published ones" in result.notice
    assert result.notes == ("a note",)
    assert judge_table(table(), tier(), {}).notice == ""


def test_a_variant_is_held_against_its_base_seed_by_seed():
    cells = (ours("a", None), ours("b", None, against="a"), ours("c", None, against="b"))
    # Seed 1 of the variant has no number, seed 3 of it no partner.
    results = {
        "a": runs(70.0, 71.0, 74.0),
        "b": [*runs(71.0, math.nan, 72.0), SeedRun(seed=3, miou=90.0)],
    }
    result = judge_table(table(cells=cells, bold=None), tier(), results)
    assert (result.cell("a").against, result.cell("a").difference) == (None, None)
    found = result.cell("b").difference
    assert found == Measured(seeds=(0, 2), values=(1.0, -2.0))
    assert found.mean == -0.5 and found.sd == pytest.approx(math.sqrt(4.5))
    assert (result.cell("c").against, result.cell("c").difference) == ("b", None)


def test_verdicts_do_not_import_torch():
    code = (
        "import sys, replication.verdict, replication.render; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'scipy', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
