"""The plan that a command's options name, made as `replication.run` makes it. No torch."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from replication import arguments
from replication.arguments import places
from replication.data.sources import Sources
from replication.errors import ReplicationError
from replication.plan import Plan, build, not_given
from replication.runs import Store
from replication.spec import Table, load_tables
from replication.spec.checks import nearest
from replication.spec.names import TableKey, listed
from replication.tiers import Tier, load_tier


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The tables at a tier, with the data they read and the folder their records are in."""

    tables: tuple[Table, ...]
    tier: Tier
    seeds: tuple[int, ...]
    sources: Sources
    store: Store
    options: argparse.Namespace

    def plan(self, *, tables: Sequence[TableKey] = (), cells: Sequence[str] = ()) -> Plan:
        """The plan of these tables and of these cells `tableN/ID`, or else of all the paper's.

        Raises ReplicationError with a line for each table or cell that is not there.
        """
        names = {cell.name: table.key for table in self.tables for cell in table.cells}
        keys = [table.key for table in self.tables]
        problems = [
            f"--table {key}: no such table; there are {listed(keys)}"
            for key in tables
            if key not in keys
        ]
        problems += [
            f"--cell {cell}: no such cell; {nearest(cell, names)}"
            for cell in cells
            if cell not in names
        ]
        if problems:
            raise ReplicationError("\n".join(problems))
        if not tables and not cells:
            tables = [table.key for table in self.tables if table.number is not None]
        wanted = [name for name, key in names.items() if name in cells or key in tables]
        return build(
            [table for table in self.tables if any(names[one] == table.key for one in wanted)],
            self.tier,
            self.sources,
            self.seeds,
            only=wanted,
            weights=self._hashes,
        )

    @property
    def weights(self) -> dict[str, str]:
        """Files of pretrained backbones, by backbone."""
        return arguments.pairs(self.options.weights, "--weights", "BACKBONE=FILE")

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return arguments.hashes(self.weights)

    def command(self, cells: Sequence[str]) -> str:
        """The command that makes the records of these cells."""
        words = [word for cell in cells for word in ("--cell", cell)]
        words += ["--tier", self.options.tier]
        if self.options.seeds is not None:
            words += ["--seeds", str(self.options.seeds)]
        for option in ("data", "weights"):
            words += [w for given in getattr(self.options, option) for w in (f"--{option}", given)]
        words += not_given(self.plan(cells=cells).steps.values())
        return shlex.join(["python", "-m", "replication.run", *words, *places(self.options)])


def add_options(parser: argparse.ArgumentParser) -> None:
    """--tier, --seeds, --data, --weights, --results, --tables and --tiers."""
    how = parser.add_argument_group("which runs")
    how.add_argument("--tier", default="micro", metavar="NAME", help="default: micro; or a .toml")
    how.add_argument("--seeds", type=int, metavar="K", help="seeds a cell (default: the tier's)")
    arguments.add_inputs(how)
    arguments.add_places(parser)


def planned(options: argparse.Namespace) -> Planned:
    """From the options of `add_options`. Raises ReplicationError with a line for each mistake."""
    tier = load_tier(options.tier, options.tiers)
    if options.seeds is not None and options.seeds < 1:
        raise ReplicationError(f"--seeds {options.seeds}: must be at least 1")
    own_data = arguments.pairs(options.data, "--data", "ROLE=PATH")
    sources = Sources.of(tier.data, own_data, cached=False)
    tier = replace(tier, data={role: source.at for role, source in sources.by_role.items()})
    return Planned(
        tables=tuple(load_tables(options.tables)),
        tier=tier,
        seeds=tuple(range(tier.first_seed, tier.first_seed + (options.seeds or tier.seeds))),
        sources=sources,
        store=Store(options.results / tier.name),
        options=options,
    )
