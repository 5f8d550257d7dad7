"""From records to judged tables: reads outcomes only, never a model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from replication.guard import leak_checks
from replication.ledger import Point
from replication.plan import CellRun, Plan
from replication.results import Entered, SeedRun, TableResult
from replication.rules.examination import Examination
from replication.runs import Store
from replication.schedule import relative_time
from replication.spec import TableKey
from replication.submission import recorded
from replication.tiers import scale
from replication.touches import open_points
from replication.verdict import judge_table


def judged(
    plan: Plan,
    store: Store,
    failed: Mapping[str, str],
    examined: Mapping[str, Examination] | None = None,
    points: Sequence[Point] = (),
) -> list[TableResult]:
    """Judge every table of the plan from what is on disk.

    `failed` are the steps that failed in this run without leaving a record, with the reason;
    `examined` is what the linter says of finished ones; `points` are the ledger's.
    """
    by_table = on_record(plan, store, failed, examined)
    return [
        judge_table(t, plan.tier, by_table.get(t.key, {}), open_points(t, plan.tier, points))
        for t in plan.tables
    ]


def on_record(
    plan: Plan,
    store: Store,
    failed: Mapping[str, str],
    examined: Mapping[str, Examination] | None = None,
) -> dict[TableKey, dict[str, list[SeedRun]]]:
    """What there is of every cell of the plan under each seed, by table and cell id."""
    by_table: dict[TableKey, dict[str, list[SeedRun]]] = {}
    scores = recorded.read(store.folder)
    specs = {(table.key, cell.id): cell for table in plan.tables for cell in table.cells}
    for run in plan.runs:
        cells = by_table.setdefault(run.table, {})
        found = seed_run(run, store, failed)
        found = _examined(found, run, examined or {})
        if run.evaluation is None:
            strategy = scale(specs[run.table, run.cell], plan.tier).evaluation
            assert strategy is not None
            found = _scored(found, run, strategy.config(), store, scores)
        cells.setdefault(run.cell, []).append(found)
    return by_table


def _examined(found: SeedRun, run: CellRun, examined: Mapping[str, Examination]) -> SeedRun:
    """With what is held against its records, and how a leak was looked for."""
    examinations = [examined[step.id] for step in run.steps if step.id in examined]
    findings = [str(one) for each in examinations for one in each.findings if not one.warning]
    evaluation = examined.get(run.evaluation.id) if run.evaluation is not None else None
    checks = (
        leak_checks(run, evaluation.applied, evaluation.lacking)
        if evaluation is not None
        else leak_checks(run)
    )
    return replace(found, findings=tuple(findings), leak_checks=checks)


def _scored(
    found: SeedRun,
    run: CellRun,
    inference: Mapping[str, Any],
    store: Store,
    scores: Sequence[recorded.Score],
) -> SeedRun:
    """What a test server gave for these predictions, or what there is to do for a score."""
    if found.failure:
        return found
    training = run.chain[-1]
    own = [s for s in scores if (s.table, s.cell, s.seed) == (run.table, run.cell, run.seed)]
    for score in own:
        if score.training == training.id and score.evaluation == inference:
            entered = Entered(
                seed=run.seed, miou=score.miou, evidence=score.evidence, date=score.date
            )
            return replace(found, miou=score.miou, entered=entered)
    remarks = [
        f"{score.miou:g}, entered by hand ({score.evidence}, {score.date}), is not shown: it is of "
        + (
            f"{score.training}, and the plan's training is {training.id}"
            if score.training != training.id
            else "another inference strategy than the plan's"
        )
        for score in own
    ]
    if store.status(training) == "done":
        remarks.append(
            f"trained: `python -m replication.submit --table {run.table}` writes the predictions "
            f"for the server, `python -m replication.record --table {run.table}` enters its score"
        )
    return replace(found, remark="; ".join(remarks))


def seed_run(run: CellRun, store: Store, failed: Mapping[str, str]) -> SeedRun:
    """What is on record for one cell under one seed."""
    failure, miou, per_class, extra = None, None, {}, {}
    for step in run.steps:
        status = store.status(step)
        if status == "failed":
            failure = f"{store.outcome(step.id)['error']} ({step.id})"
        elif status != "done" and step.id in failed:
            failure = f"{failed[step.id]} ({step.id})"
        elif step is run.evaluation and status == "done":
            outcome = store.outcome(step.id)
            miou, per_class = outcome["miou"], outcome["per_class"]
        if failure:
            break
    stage = run.chain[-1].config.get("stage")
    if stage is not None and miou is not None:
        extra = {"relative_time": relative_time(stage["iterations"], stage["replicas"])}
    return SeedRun(
        seed=run.seed,
        miou=miou,
        per_class=per_class,
        training=tuple(step.id for step in run.chain),
        evaluation=run.evaluation.id if run.evaluation else "",
        draws=_draws(run),
        backbone=run.chain[0].id if run.chain[0].kind == "pretrain" else "",
        failure=failure,
        extra=extra,
    )


def _draws(run: CellRun) -> str:
    """What a seed decides for these trainings: `data.batches` draws from these and nothing else."""
    stages = [(s.config["stage"], s.config["data"]) for s in run.chain if "stage" in s.config]
    names = ("batch_size", "scale_range", "scale_step", "flip", "duplicate")
    return json.dumps([[data, {name: stage[name] for name in names}] for stage, data in stages])
