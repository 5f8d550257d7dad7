"""Recorded runs that later results are held against: one file a tier and table.

    REFERENCES/TIER-tableNN.json

A file names every step by its whole configuration and by what it was made with, and every cell's
seeds by their mIoU and the first logged losses of the last training stage, floats to the last bit.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from replication.environment import numerics
from replication.errors import ReplicationError, RunError
from replication.files import write_atomically
from replication.plan import CellRun, Plan
from replication.runs import Kind, Step, Store, differences, read_json, step_id
from replication.spec.checks import display
from replication.spec.names import cell_name, stem

# Logged losses that are kept, the first ones: iteration 1's and then one each 10 iterations, so
# those of 190 iterations of a long training, and all of a short one.
FIRST = 20

Finite = Annotated[float, Field(allow_inf_nan=False)]
NAME = re.compile(r"(?P<tier>.+)-table(?P<table>\d{2,})\.json")


class Failed(ReplicationError):
    """A run that is on record as failed."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One cell under one seed."""

    seed: int
    # In percent.
    miou: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    # Of the last training stage, from its log's first lines.
    losses: Annotated[tuple[Finite, ...], Field(min_length=1)]
    # The chain of training steps, and the evaluation step.
    training: Annotated[tuple[str, ...], Field(min_length=1)]
    evaluation: str

    @property
    def steps(self) -> tuple[str, ...]:
        return (*self.training, self.evaluation)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A step's whole configuration: what its id is the hash of."""

    version: int
    kind: Kind
    config: Mapping[str, Any]
    parent: str | None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a step is, and which of the file's environments it was made in."""

    identity: Identity
    environment: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One file's content. `date` is YYYY-MM-DD; `commit` and `clean` are the recording checkout's.

    The commit that a step was trained at is in its environment.
    """

    format: Literal[1] = 1
    tier: str
    table: int
    date: str
    commit: str
    clean: bool
    cells: Annotated[Mapping[str, tuple[Run, ...]], Field(min_length=1)]
    environments: tuple[Mapping[str, Any], ...]
    steps: Mapping[str, Origin]

    def environment(self, step_id: str) -> Mapping[str, Any]:
        return self.environments[self.steps[step_id].environment]

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for runs in self.cells.values() for run in runs})

    def identities(self, run: Run) -> list[Identity]:
        return [self.steps[id_].identity for id_ in run.steps]

    def runs(self) -> dict[str, Run]:
        """Every run by what it is called."""
        return {
            f"{cell_name(self.table, cell)} seed {run.seed}": run
            for cell, runs in self.cells.items()
            for run in runs
        }


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run on record here, and the environment of each of its steps."""

    run: Run
    environments: Mapping[str, Mapping[str, Any]]


_REFERENCE: TypeAdapter[Reference] = TypeAdapter(Reference)
_RUN: TypeAdapter[Run] = TypeAdapter(Run)


def path_of(folder: Path, tier: str, table: int) -> Path:
    return folder / f"{tier}-{stem(table)}.json"


def read(path: Path) -> Reference:
    """Raises RunError, one line, for a file that is missing, empty, damaged or misnamed."""
    name = display(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{name}: no such reference") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{name}: cannot be read ({error})") from None
    if not text.strip():
        raise RunError(f"{name}: empty; a reference holds recorded runs")
    try:
        reference = _REFERENCE.validate_python(json.loads(text))
    except ValidationError as error:
        raise RunError(f"{name}: damaged ({_first(error)})") from None
    except ValueError as error:
        raise RunError(f"{name}: damaged ({error})") from None
    problem = _inconsistency(path, reference)
    if problem:
        raise RunError(f"{name}: damaged ({problem})")
    return reference


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"


def _inconsistency(path: Path, reference: Reference) -> str | None:
    name = NAME.fullmatch(path.name)
    if name is None or (name["tier"], int(name["table"])) != (reference.tier, reference.table):
        return f"by its content it is {path_of(path.parent, reference.tier, reference.table).name}"
    for id_, origin in reference.steps.items():
        if origin.environment >= len(reference.environments):
            return f"steps.{id_}: there is no environment {origin.environment}"
        if step_id(asdict(origin.identity)) != id_:
            return f"steps.{id_}: the id is not that of its configuration"
    for cell, runs in reference.cells.items():
        seeds = [run.seed for run in runs]
        if not runs or len(set(seeds)) < len(seeds):
            return f"cells.{cell}: {'a seed stands there twice' if runs else 'it has no runs'}"
        unknown = [id_ for run in runs for id_ in run.steps if id_ not in reference.steps]
        if unknown:
            return f"cells.{cell}: {unknown[0]} is not among the steps"
    return None


def write(path: Path, reference: Reference) -> None:
    """Whole or not at all; a line for each run, environment and step, to be read in a diff."""
    content = asdict(reference)

    def block(key: str, lines: Sequence[str], brackets: str, indent: str = " ") -> str:
        joined = ",\n".join(f"{indent} {line}" for line in lines)
        return f"{indent}{json.dumps(key)}: {brackets[0]}\n{joined}\n{indent}{brackets[1]}"

    head = [
        f" {json.dumps(key)}: {json.dumps(content[key])}"
        for key in ("format", "tier", "table", "date", "commit", "clean")
    ]
    cells = [
        block(cell, [_json(run) for run in runs], "[]", "  ").lstrip()
        for cell, runs in content["cells"].items()
    ]
    steps = [f"{json.dumps(id_)}: {_json(step)}" for id_, step in content["steps"].items()]
    parts = [
        *head,
        block("cells", cells, "{}"),
        block("environments", [_json(one) for one in content["environments"]], "[]"),
        block("steps", steps, "{}"),
    ]
    write_atomically(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False)


def measured(run: CellRun, store: Store) -> Measured:
    """What is on record for a planned run.

    Raises Failed for one that failed, and RunError for one that is missing or damaged.
    """
    assert run.evaluation is not None
    missing = []
    for step in run.steps:
        try:
            status = store.status(step)
        except (KeyError, TypeError):
            raise RunError(f"{store.path(step.id) / 'outcome.json'}: damaged (no status)") from None
        if status == "failed":
            raise Failed(f"failed: {store.outcome(step.id).get('error')} ({step.id})")
        if status != "done":
            missing.append(step.id)
    if missing:
        raise RunError(f"not on record in {store.folder}: {', '.join(missing)}")
    evaluation = store.path(run.evaluation.id)
    content = {
        "seed": run.seed,
        "miou": _mapping(evaluation / "outcome.json").get("miou"),
        "losses": _losses(store.path(run.chain[-1].id) / "log.jsonl"),
        "training": [step.id for step in run.chain],
        "evaluation": run.evaluation.id,
    }
    try:
        found = _RUN.validate_python(content)
    except ValidationError as error:
        raise RunError(f"{evaluation}: damaged ({_first(error)})") from None
    return Measured(
        run=found,
        environments={
            step.id: _mapping(store.path(step.id) / "environment.json") for step in run.steps
        },
    )


def _mapping(path: Path) -> Mapping[str, Any]:
    content: Any = read_json(path)
    if not isinstance(content, dict):
        raise RunError(f"{path}: damaged (no object)")
    return content


def _losses(log: Path) -> list[float]:
    try:
        lines = log.read_text().splitlines()[:FIRST]
        return [json.loads(line)["loss"] for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{log}: damaged ({error}); move {log.parent} away to run it again"
        ) from None


def record(plan: Plan, store: Store, *, date: str, commit: str) -> Reference:
    """A reference of the plan's only table from what is on record; the checkout is `commit`, clean.

    Raises ReplicationError, a line for each problem: a run that is missing, damaged or failed, or
    that was made from a checkout with uncommitted changes.
    """
    [table] = plan.tables
    assert table.number is not None
    cells: dict[str, list[Run]] = {}
    steps: dict[str, Origin] = {}
    environments: list[Mapping[str, Any]] = []
    problems: list[str] = []
    for run in plan.runs:
        if run.evaluation is None:
            continue
        try:
            found = measured(run, store)
        except ReplicationError as problem:
            problems.append(f"{run.name} seed {run.seed}: {problem}")
            continue
        cells.setdefault(run.cell, []).append(found.run)
        for step in run.steps:
            environment = found.environments[step.id]
            if environment not in environments:
                environments.append(environment)
            identity = Identity(**json.loads(json.dumps(step.identity)))
            origin = Origin(identity=identity, environment=environments.index(environment))
            steps.setdefault(step.id, origin)
    unclean = [i for i, one in enumerate(environments) if one.get("clean") is not True]
    made = [id_ for id_, origin in steps.items() if origin.environment in unclean]
    if made:
        problems.append(
            f"table {table.number}: {len(made)} steps on record were made with uncommitted changes "
            f"in the checkout, or outside git ({made[0]}, …); run them afresh from a commit"
        )
    if not cells and not problems:
        problems.append(f"table {table.number}: it has no cell that can be measured here")
    if problems:
        raise ReplicationError("\n".join(problems))
    return Reference(
        tier=plan.tier.name,
        table=table.number,
        date=date,
        commit=commit,
        clean=True,
        cells={cell: tuple(runs) for cell, runs in cells.items()},
        environments=tuple(environments),
        steps=steps,
    )


def changes(before: Reference | None, now: Reference) -> list[str]:
    """What a new reference changes, a line each; nothing where only commits and dates differ."""
    if before is None:
        return [f"{name}: mIoU {run.miou!r}, new" for name, run in now.runs().items()]
    old, new = before.runs(), now.runs()
    lines = dict.fromkeys(f"{name}: removed" for name in old.keys() - new.keys())
    for name, run in new.items():
        if name not in old:
            lines[f"{name}: mIoU {run.miou!r}, new"] = None
            continue
        if run.miou != old[name].miou:
            lines[f"{name}: mIoU {old[name].miou!r} before, {run.miou!r} now"] = None
        elif run.losses != old[name].losses:
            lines[f"{name}: other losses, the same mIoU"] = None
        if run.steps != old[name].steps:
            keys = changed_keys(before.identities(old[name]), now.identities(run))
            lines |= dict.fromkeys(keys or [f"{name}: another VERSION"])
        elif any(
            numerics(before.environment(id_)) != numerics(now.environment(id_)) for id_ in run.steps
        ):
            lines[f"{name}: another environment"] = None
    return list(lines)


def changed_keys(
    recorded: Sequence[Identity], planned: Sequence[Step | Identity], *, apart: Sequence[str] = ()
) -> list[str]:
    """What differs between two chains' configurations, but for VERSION and the keys in `apart`.

    One line a key: `step: key: recorded, planned`.
    """
    kinds = [", ".join(step.kind for step in chain) for chain in (recorded, planned)]
    if kinds[0] != kinds[1]:
        return [f"steps: {kinds[0]} recorded, {kinds[1]} planned"]
    lines: dict[str, None] = {}
    for before, now in zip(recorded, planned, strict=True):
        for line in differences(before.config, json.loads(json.dumps(now.config))):
            if line.split(":", 1)[0] not in apart:
                lines[f"{now.kind}: {line}"] = None
    return list(lines)
