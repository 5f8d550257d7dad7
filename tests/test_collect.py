"""From records to judged tables: what the linter found and how leaks were looked for arrive."""

from dataclasses import replace

import pytest

from replication.arguments import HOME
from replication.collect import judged, seed_run
from replication.data.sources import Sources
from replication.ledger import load_ledger
from replication.plan import build
from replication.rules.linter import Examination, Finding
from replication.runs import Store
from replication.spec import load_tables
from replication.tiers import load_tier


@pytest.fixture
def on_record(tmp_path, monkeypatch):
    """Table 9's 64.43 at a comparable tier with one seed on record, at 70."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "cache"))
    tier = replace(load_tier("smoke", HOME / "tiers"), comparable=True)
    tables = [table for table in load_tables(HOME / "tables") if table.number == 9]
    plan = build(tables, tier, Sources.of(tier.data, {}), [0], only=["table9/batch4"])
    store = Store(tmp_path / "results")
    store.prepare()
    for step in plan.steps.values():
        store.begin(step)
        found = {"miou": 70.0, "per_class": {}} if step.kind == "evaluate" else {}
        store.finish(step, {"status": "done", **found})
    return plan, store


def examination(step_id, *findings, applied=(), lacking=None):
    return Examination(
        step=step_id, findings=findings, applied=tuple(applied), lacking=lacking or {}
    )


def cell(on_record, *examinations):
    plan, store = on_record
    [table] = judged(plan, store, {}, {one.step: one for one in examinations})
    return table.cell("batch4")


def evaluation(on_record):
    return on_record[0].runs[0].evaluation.id


def test_the_checks_that_were_made_reach_the_warning(on_record):
    found = cell(on_record, examination(evaluation(on_record), applied=["score", "unseen"]))
    assert found.verdict == "above"
    assert found.reason == (
        "single seed: +5.57 against a tolerance of 1.0; above is a warning: suspect a leak first; "
        "leak checks found nothing: ids of voc val against those of trainaug at planning, "
        "the linter's rule “unseen” on the record"
    )


def test_the_backbone_of_a_seeds_own_arrives(on_record):
    plan, store = on_record
    found = seed_run(plan.runs[0], store, {}).backbone
    assert found == plan.runs[0].chain[0].id and found.startswith("pretrain-")


def test_the_open_points_of_the_table_arrive(on_record):
    plan, store = on_record
    [table] = judged(plan, store, {}, points=load_ledger())
    by_field = {point.field: point for point in table.open_points}
    assert by_field["dropout"].every and by_field["bn_decay"].set_by == "tiers/smoke.toml"
    assert judged(plan, store, {})[0].open_points == ()


def test_a_rule_that_could_not_be_applied_is_no_check(on_record):
    lacking = {"unseen": "the record train-1 beside it"}
    reason = cell(on_record, examination(evaluation(on_record), lacking=lacking)).reason
    assert reason.endswith(
        "found nothing: ids of voc val against those of trainaug at planning; "
        "not checked: the linter's rule “unseen” on the record, for want of the record train-1 "
        "beside it"
    )
    # Nothing was examined: the rule is neither.
    assert "unseen" not in cell(on_record).reason


def test_findings_of_every_step_are_held_against_the_cell_and_warnings_are_not(on_record):
    first = on_record[0].runs[0].chain[0].id
    fault = Finding(rule="pixels", value="4 void", expected="none", step=evaluation(on_record))
    mild = Finding(rule="split size", value="9", expected="10", step=first, warning=True)
    found = cell(on_record, examination(first, mild), examination(evaluation(on_record), fault))
    assert found.verdict == "suspect"
    assert found.reason == "seed 0: pixels: 4 void; expected: none"
    assert cell(on_record, examination(first, mild)).verdict == "above"
