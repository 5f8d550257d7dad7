"""From records to judged tables: reads outcomes only, never a model."""

from collections.abc import Mapping

from replication.plan import CellRun, Plan
from replication.results import SeedRun, TableResult
from replication.runs import Store
from replication.schedule import relative_time
from replication.verdict import judge_table


def judged(plan: Plan, store: Store, failed: Mapping[str, str]) -> list[TableResult]:
    """Judge every table of the plan from what is on disk.

    `failed` are the steps that failed in this run without leaving a record, with the reason.
    """
    by_table: dict[int, dict[str, list[SeedRun]]] = {}
    for run in plan.runs:
        cells = by_table.setdefault(run.table, {})
        cells.setdefault(run.cell, []).append(seed_run(run, store, failed))
    return [judge_table(t, plan.tier, by_table.get(t.number, {})) for t in plan.tables]


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
        failure=failure,
        extra=extra,
    )
