"""What the options of `replication.run` ask for, read and checked. No torch."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from replication import arguments, ledger
from replication.data.sources import Sources
from replication.errors import ReplicationError
from replication.plan import Plan, build
from replication.rules.examination import Examination, Finding, remembered
from replication.runs import Step, Store
from replication.spec import Table, load_tables
from replication.spec.checks import nearest
from replication.spec.names import listed
from replication.tiers import Tier, load_tier

if TYPE_CHECKING:  # it reads records with numpy, which planning does without
    from replication.rules.linter import Linter


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Tables and cells at a tier under some seeds, on these data, with results in that folder."""

    # Those asked for, and all there are.
    tables: tuple[Table, ...]
    every: tuple[Table, ...]
    # Cells asked for one by one, `tableN/ID`; empty where whole tables are.
    cells: tuple[str, ...]
    tier: Tier
    seeds: tuple[int, ...]
    sources: Sources
    # Files of pretrained backbones, and their hashes.
    weights: Mapping[str, Path]
    hashes: Mapping[str, str]
    store: Store
    # The ledger's, as far as they are about these tables.
    points: tuple[ledger.Point, ...]
    options: argparse.Namespace

    def plan_of(self, seeds: Sequence[int]) -> Plan:
        """The plan of the tables asked for, whole, under other seeds."""
        return build(self.tables, self.tier, self.sources, seeds, weights=self.hashes)

    @cached_property
    def full(self) -> Plan:
        """The plan of the tables asked for, whole: what is judged and rendered."""
        return self.plan_of(self.seeds)

    @cached_property
    def plan(self) -> Plan:
        """The plan of what is to be run."""
        if not self.cells:
            return self.full
        return build(
            self.tables, self.tier, self.sources, self.seeds, weights=self.hashes, only=self.cells
        )

    def examined(self, plan: Plan) -> dict[str, Examination]:
        """What the linter says of finished steps.

        Of every record as it is now, where it could be called reproduced; else of each once.
        """
        done = [id_ for id_, step in plan.steps.items() if self.store.status(step) == "done"]
        if self.tier.comparable:
            return {id_: self._linter.examine(id_) for id_ in done}
        return {
            id_: remembered(self.store, id_, lambda step: self._linter.examine(step))
            for id_ in done
        }

    def foreseen(self) -> list[Finding]:
        """What the linter holds against steps that are still to run."""
        todo = {step.id for step in self.unfinished}
        if not todo:
            return []
        examined = [one for one in self._linter.before(self.plan) if one.step in todo]
        return [f for one in examined for f in one.findings if not f.warning]

    @property
    def unfinished(self) -> list[Step]:
        """The plan's steps without an outcome."""
        waiting = ("missing", "partial")
        return [s for s in self.plan.steps.values() if self.store.status(s) in waiting]

    @cached_property
    def _linter(self) -> "Linter":
        from replication.rules.linter import Linter

        return Linter(
            self.store,
            sources=self.sources,
            weights=self.weights,
            comparable=self.tier.comparable,
        )


def ask(options: argparse.Namespace) -> Asked:
    """From the options of `replication.run`. Raises ReplicationError with a line a mistake."""
    tier = load_tier(options.tier, options.tiers)
    every = load_tables(options.tables)
    tables, cells = _chosen(options, every)
    own_data = arguments.pairs(options.data, "--data", "ROLE=PATH")
    sources = Sources.of(tier.data, own_data, cached=not options.no_cache)
    if own_data and not tier.comparable:
        # A summary that speaks of generated pictures would be wrong.
        instead = any(tier.generated(role) for role in own_data)
        what = "its small networks and short trainings" if instead else tier.summary
        given = ", ".join(f"{role} = {path}" for role, path in own_data.items())
        tier = replace(tier, summary=f"{what}, on {given}")
    tier = replace(tier, data={role: source.at for role, source in sources.by_role.items()})
    files = arguments.pairs(options.weights, "--weights", "BACKBONE=FILE")
    return Asked(
        tables=tuple(tables),
        every=tuple(every),
        cells=tuple(cells),
        tier=tier,
        seeds=tuple(range(tier.first_seed, tier.first_seed + (options.seeds or tier.seeds))),
        sources=sources,
        weights={backbone: Path(path) for backbone, path in files.items()},
        hashes=arguments.hashes(files),
        store=Store(options.results / tier.name),
        points=ledger.for_tables(ledger.load_ledger(), options.tables),
        options=options,
    )


def _chosen(options: argparse.Namespace, every: Sequence[Table]) -> tuple[list[Table], list[str]]:
    keys = [table.key for table in every]
    known = {cell.name: table.key for table in every for cell in table.cells}
    cells = options.cell or []
    for cell in cells:
        if cell not in known:
            raise ReplicationError(
                f"--cell {cell}: no such cell; {nearest(cell, known)}; `--list` names them all"
            )
    for key in options.table or []:
        if key not in keys:
            raise ReplicationError(f"--table {key}: no such table; there are {listed(keys)}")
    # A table asked for as a whole runs as a whole, whatever cells are named beside it; a spec of
    # one's own runs only where it is named.
    whole = {*(options.table or [])}
    if options.all:
        whole |= {table.key for table in every if table.number is not None}
    wanted = whole | {known[cell] for cell in cells}
    if not wanted:
        raise ReplicationError("nothing to do: give --table N, --cell tableN/ID or --all")
    if cells:
        cells = [cell for cell, key in known.items() if cell in cells or key in whole]
    return [table for table in every if table.key in wanted], cells
