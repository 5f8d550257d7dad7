"""What two results folders say of the same cells, and took: `python -m benchmarks.tables OLD NEW`.

    python -m benchmarks.tables before/micro results/micro-bf16 --seeds 1

For two codes, tiers or machines, whose steps have other ids: cells are the same by their names in
`tables/*.json`, which each code wrote itself. Prints a table's differences of mIoU in points, NEW
less OLD, cell by cell in the mean over the seeds that both have; over all tables, where equal cells
of one training count once; and the seconds of the jobs behind these cells.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.given import at_least_one
from replication import arguments
from replication.errors import ReplicationError
from replication.statistics import mean


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A measured cell: mIoU, and the steps behind it with the evaluation last, by seed."""

    miou: dict[int, float]
    steps: dict[int, tuple[str, ...]]


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.tables", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="a tier's folder, as results/micro")
    parser.add_argument("new", type=Path, metavar="NEW", help="another one")
    parser.add_argument("--table", type=int, action="append", metavar="N", help="default: all")
    parser.add_argument("--seeds", type=int, metavar="K", help="the first K that both have")
    options = parser.parse_args(given)
    return arguments.guarded(lambda: report(options))


def report(options: argparse.Namespace) -> int:
    at_least_one(seeds=options.seeds)
    old, new = (_read(folder, options.table) for folder in (options.old, options.new))
    once: dict[tuple[str, ...], float] = {}
    of_old: set[str] = set()
    of_new: set[str] = set()
    for table in new:
        differences: dict[str, float] = {}
        for name, cell in new[table].items():
            before = old.get(table, {}).get(name)
            if before is None:
                continue
            seeds = sorted(set(cell.miou) & set(before.miou))[: options.seeds]
            if not seeds:
                continue
            differences[name] = mean([cell.miou[s] - before.miou[s] for s in seeds])
            both = (steps[s][-1] for steps in (before.steps, cell.steps) for s in seeds)
            once[tuple(both)] = differences[name]
            of_old.update(*(before.steps[s] for s in seeds))
            of_new.update(*(cell.steps[s] for s in seeds))
        if differences:
            each = ", ".join(f"{name} {one:+.1f}" for name, one in differences.items())
            print(f"table {table}: mean {mean([*differences.values()]):+.2f} ({each})")
    if not once:
        raise ReplicationError(f"{options.old}, {options.new}: no cell is measured in both")
    every = list(once.values())
    print(
        f"{len(every)} different evaluations: mean {mean(every):+.2f}, "
        f"median {statistics.median(every):+.2f}, of {min(every):+.2f} to {max(every):+.2f}, "
        f"{sum(one < 0 for one in every)} of them lower"
    )
    theirs, ours = _seconds(options.old, of_old), _seconds(options.new, of_new)
    print(f"their jobs took {theirs:,.0f} and {ours:,.0f} s: OLD {theirs / ours:.2f} times NEW")
    return arguments.EXIT_OK


def _read(folder: Path, chosen: Sequence[int] | None) -> dict[Any, dict[str, Cell]]:
    """The measured cells of a folder's tables."""
    files = sorted((folder / "tables").glob("*.json"))
    if not files:
        raise ReplicationError(f"{folder}: has no tables/*.json; give a tier's results folder")
    tables = [json.loads(file.read_text()) for file in files]
    return {
        table["table"]: dict(_measured(table))
        for table in tables
        if not chosen or table["table"] in chosen
    }


def _measured(table: dict[str, Any]) -> Iterator[tuple[str, Cell]]:
    for cell in table["cells"]:
        found = cell["measured"]
        if found and len(found["seeds"]) < len(cell["evaluation"]):
            print(f"table {table['table']}, {cell['cell']}: not done under every seed: left out")
        elif found and cell["evaluation"]:  # no numbers entered by hand
            chains = zip(cell["training"], cell["evaluation"], strict=True)
            steps = [(*chain, evaluation) for chain, evaluation in chains]
            yield (
                cell["cell"],
                Cell(
                    miou=dict(zip(found["seeds"], found["values"], strict=True)),
                    steps=dict(zip(found["seeds"], steps, strict=True)),
                ),
            )


def _seconds(folder: Path, ids: set[str]) -> float:
    """What these steps' jobs took; the evaluations of one sweep are one job."""
    jobs = set()
    for id_ in ids:
        step = folder / "steps" / id_
        config = json.loads((step / "config.json").read_text())
        job = ("sweep of", config["parent"]) if config["kind"] == "evaluate" else ("step", id_)
        jobs.add((job, json.loads((step / "outcome.json").read_text())["seconds"]))
    return sum(seconds for _, seconds in jobs)


if __name__ == "__main__":
    sys.exit(main())
