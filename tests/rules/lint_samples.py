"""Records of real, tiny trainings for the linter's tests, made in this process."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors.numpy import load_file, save_file

from replication.execute import Context, run_job
from replication.lint import parser
from replication.plan import Plan, sweeps
from replication.planned import Planned, planned
from replication.rules.linter import Finding, findings
from replication.runs import Step, Store


def data_cache(folder: Path) -> Iterator[None]:
    """A data cache of one's own, for as long as the iterator is held."""
    before = os.environ.get("REPLICATION_DATA")
    os.environ["REPLICATION_DATA"] = str(folder)
    yield
    del os.environ["REPLICATION_DATA"]
    if before is not None:
        os.environ["REPLICATION_DATA"] = before


def where(results: Path, *more: str) -> Planned:
    options = ["--tier", "smoke", "--results", str(results), *more]
    found = planned(parser().parse_args(options))
    found.store.prepare()
    return found


def context(found: Planned, weights: dict[str, Path] | None = None) -> Context:
    return Context(
        store=found.store, sources=found.sources, device="cpu", threads=1,
        checkpoint_seconds=60.0, weights=weights or {}, progress=lambda done, total, facts: None,
        should_stop=lambda: False,
    )  # fmt: skip


def replicate(found: Planned, plan: Plan) -> None:
    """Run a plan here, without processes of its own."""
    for step in plan.of_kind("pretrain", "train"):
        run_job([step], context(found))
    for sweep in sweeps(plan.of_kind("evaluate")):
        run_job(sweep, context(found))


def step(results: Path, cell: str, stage: int = -1) -> Step:
    """A cell's training, its last by default."""
    [run] = where(results).plan(cells=[cell]).runs
    return run.chain[stage]


def evaluation(results: Path, cell: str) -> Step:
    [run] = where(results).plan(cells=[cell]).runs
    assert run.evaluation is not None
    return run.evaluation


def folder(results: Path, of: Step) -> Path:
    return results / "smoke" / "steps" / of.id


def found_in(results: Path, of: Step | str, **given) -> list[Finding]:
    return findings(Store(results / "smoke"), of, sources=where(results).sources, **given)


def only(found: list[Finding], rule: str) -> str:
    """The text of findings that are all of this one rule."""
    assert found and {finding.rule for finding in found} == {rule}, list(map(str, found))
    return "\n".join(map(str, found))


def edit_json(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_tensors(file: Path, change) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
