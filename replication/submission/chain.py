"""A cell that a test server scores, and the trained network whose predictions it is to score."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from replication.arguments import hashes, pairs, places
from replication.data.sources import MISSING, Sources
from replication.errors import ReplicationError, RunError
from replication.plan import CellRun, build, not_given
from replication.runs import Step, Store, read_json
from replication.spec import Cell, Table, TableKey, load_tables
from replication.spec.checks import nearest
from replication.spec.names import cell_name, listed
from replication.tiers import Tier, load_tier, scale


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The cell that a command names, at the tier's scale, with what the options say about it."""

    table: Table
    cell: Cell
    tier: Tier
    seed: int
    sources: Sources
    store: Store

    @property
    def name(self) -> str:
        return self.cell.name


def asked(options: argparse.Namespace) -> Asked:
    """From --table, --cell, --tier, --seed, --data, --results, --tables and --tiers.

    Without --cell it is the table's only cell that a server scores. Raises ReplicationError.
    """
    tier = load_tier(options.tier, options.tiers)
    own_data = pairs(options.data, "--data", "ROLE=PATH")
    sources = Sources.of(tier.data, own_data, cached=not getattr(options, "no_cache", False))
    tier = replace(tier, data={role: source.at for role, source in sources.by_role.items()})
    cell, table = server_cell(load_tables(options.tables), options.table, options.cell)
    return Asked(
        table=table,
        cell=scale(cell, tier),
        tier=tier,
        seed=tier.first_seed if options.seed is None else options.seed,
        sources=sources,
        store=Store(options.results / tier.name),
    )


def server_cell(tables: Sequence[Table], key: TableKey, name: str | None) -> tuple[Cell, Table]:
    """The table's cell of that name, or its only one that a test server scores."""
    scored = [cell.name for table in tables for cell in table.cells if _by_server(cell)]
    table = next((one for one in tables if one.key == key), None)
    if table is None:
        there = listed(one.key for one in tables)
        raise ReplicationError(f"--table {key}: no such table; there are {there}")
    if name is None:
        own = [cell for cell in table.cells if _by_server(cell)]
        if len(own) != 1:
            what = "no cell that" if not own else "several cells that"
            raise ReplicationError(
                f"--table {key}: it has {what} a test server scores; "
                f"give --cell; such cells: {', '.join(scored) or 'none'}"
            )
        return own[0], table
    known = {cell.id: cell for cell in table.cells}
    cell = known.get(name.removeprefix(cell_name(key, "")))
    if cell is None:
        raise ReplicationError(f"--cell {name}: no such cell; {nearest(name, known)}")
    if not _by_server(cell):
        if cell.network is None:
            why = cell.unavailable or "another group's number, quoted by the paper"
        else:
            why = "it is measured here; a measured cell cannot be scored by a server or by hand"
        raise ReplicationError(
            f"{cell.name}: {why}; test servers score {', '.join(scored) or 'none'}"
        )
    return cell, table


def _by_server(cell: Cell) -> bool:
    return cell.network is not None and cell.needs == "test labels"


def trained(asked: Asked, options: argparse.Namespace) -> tuple[CellRun, str]:
    """The cell's planned chain, and the step on record that ends it.

    What the chain was trained on need not be at hand: data and weights that are not given may be
    any. Raises RunError, with the command to give, if no such chain is done.
    """
    weights = hashes(pairs(options.weights, "--weights", "BACKBONE=FILE"))
    plan = build(
        [asked.table], asked.tier, asked.sources, [asked.seed], only=[asked.name], weights=weights
    )
    [run] = plan.runs
    done = 0
    ends: set[str | None] = {None}
    for step in run.chain:
        # A step's own record is enough: those before it may have been cleared away.
        exact = asked.store.status(step)
        if exact == "failed":
            why = asked.store.outcome(step.id)["error"]
            raise RunError(f"{asked.name} seed {asked.seed}: its training failed: {why}")
        ends = {step.id} if exact == "done" else _matching(step, ends, asked.store)
        done += bool(ends)
    found = sorted(end for end in ends if end)
    if len(found) == 1:
        return run, found[0]
    what = f"{asked.name} seed {asked.seed}"
    if found:
        raise RunError(
            f"{what}: {len(found)} trainings in {asked.store.folder} differ only in their data or "
            f"weights ({', '.join(found)}); give --data and --weights as in the run that is meant"
        )
    raise RunError(
        f"{what}: not trained in {asked.store.folder} ({done} of {len(run.chain)} stages done); "
        f"train it: {_how(asked, options, run)}"
    )


def _matching(step: Step, parents: set[str | None], store: Store) -> set[str | None]:
    """Steps on record that are done and are this one, but for what was not given."""
    planned = {key: value for key, value in step.identity.items() if key != "parent"}
    found: set[str | None] = set()
    for folder in sorted(store.steps.glob(f"{step.kind}-*")):
        if not (folder / "outcome.json").is_file():
            continue
        recorded = read_json(folder / "config.json")
        same = recorded.pop("parent", None) in parents and _fits(recorded, planned)
        if same and read_json(folder / "outcome.json").get("status") == "done":
            found.add(folder.name)
    return found


def _fits(recorded: Any, planned: Any) -> bool:
    if isinstance(planned, Mapping):
        return (
            isinstance(recorded, dict)
            and recorded.keys() == planned.keys()
            and all(_fits(recorded[key], planned[key]) for key in planned)
        )
    if isinstance(planned, (list, tuple)):
        return (
            isinstance(recorded, list)
            and len(recorded) == len(planned)
            and all(map(_fits, recorded, planned))
        )
    return planned == MISSING or recorded == planned


def _how(asked: Asked, options: argparse.Namespace, run: CellRun) -> str:
    """The command that trains the chain, with what is still to be named in capitals."""
    words = ["--cell", asked.name, "--tier", options.tier]
    if asked.seed > asked.tier.first_seed:
        words += ["--seeds", str(asked.seed - asked.tier.first_seed + 1)]
    for given in options.data:
        words += ["--data", given]
    for given in options.weights:
        words += ["--weights", given]
    words += not_given(run.chain)
    return shlex.join(["python", "-m", "replication.run", *words, *places(options)])
