"""The command: plan, run what is missing, judge, render.

python -m replication.run --table 3
python -m replication.run --all --tier smoke
python -m replication.run --all --dry-run
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from replication import arguments, guard, ledger, preview, render
from replication.collect import judged
from replication.data.sources import Sources
from replication.errors import DataError, ReplicationError
from replication.files import write_atomically
from replication.plan import RANDOM, Plan, backbone_only, build, overview, work
from replication.progress import RunDisplay
from replication.protocol import Network
from replication.render.points import PAGE
from replication.runs import Store
from replication.spec import Table, load_tables
from replication.spec.checks import nearest
from replication.spec.names import heading, listed, parse
from replication.submission import recorded
from replication.tiers import Tier, load_tier
from replication.verdict import TableResult
from replication.workers import Options, Summary, run

if TYPE_CHECKING:  # it reads records with numpy, which planning does without
    from replication.rules.linter import Examination


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m replication.run",
        description="Replicate the tables of DeepLabv3 (arXiv:1706.05587).",
        epilog="Exit status: 0 done, 1 something failed or was not run, 2 wrong input, "
        "130 interrupted (run the same command again to go on).",
    )
    what = result.add_argument_group("what to run")
    what.add_argument(
        "--table", type=parse, action="append", metavar="N",
        help="a table of the paper, or a spec beside them by its name; repeatable",
    )  # fmt: skip
    what.add_argument("--all", action="store_true", help="every table of the paper, and Figure 4")
    what.add_argument(
        "--cell", action="append", metavar="tableN/ID", help="one cell of a table; repeatable"
    )
    what.add_argument("--list", action="store_true", help="list tables and cells, run nothing")
    how = result.add_argument_group("how")
    how.add_argument("--tier", default="micro", metavar="NAME", help="default: micro; or a .toml")
    how.add_argument("--seeds", type=int, metavar="K", help="seeds a cell (default: the tier's)")
    arguments.add_inputs(how)
    how.add_argument(
        "--no-cache", action="store_true",
        help="read pictures from their files; default: decode each split once, into the data cache",
    )  # fmt: skip
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    how.add_argument("--workers", type=int, metavar="N", help="steps side by side")
    how.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, metavar="S",
        help="how often a training saves its state (default: 60)",
    )  # fmt: skip
    how.add_argument("--fail-fast", action="store_true", help="start nothing after a failure")
    arguments.add_places(result)
    only = result.add_argument_group("look only")
    only.add_argument("--dry-run", action="store_true", help="show the plan, run nothing")
    only.add_argument(
        "--power", action="store_true",
        help="with --dry-run: how many seeds each claim still needs, and what they cost",
    )  # fmt: skip
    only.add_argument(
        "--deviation", type=float, metavar="POINTS",
        help="with --power: of a cell over seeds, for claims with fewer than two on record",
    )  # fmt: skip
    only.add_argument("--json", action="store_true", help="with --dry-run or --list: as JSON")
    return result


def main(given: Sequence[str] | None = None) -> int:
    options = parser().parse_args(given)
    console = Console(width=None if sys.stdout.isatty() else 120)
    return arguments.guarded(lambda: _main(options, console))


def _main(options: argparse.Namespace, console: Console) -> int:
    if options.workers is not None and options.workers < 1:
        raise ReplicationError(f"--workers {options.workers}: must be at least 1")
    if options.json and not (options.dry_run or options.list):
        raise ReplicationError(
            "--json: goes with --dry-run or --list; results are written as JSON anyway"
        )
    _check_power(options)
    tier = load_tier(options.tier, options.tiers)
    every = load_tables(options.tables)
    tables, cells = _chosen(options, every)
    points = ledger.for_tables(ledger.load_ledger(), options.tables)
    if options.list:
        _list(every, options.json, console)
        return arguments.EXIT_OK
    seeds = _seeds(options.seeds, tier)
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
    weights = {backbone: Path(path) for backbone, path in files.items()}
    hashes = arguments.hashes(files)
    store = Store(options.results / tier.name)
    if options.power:

        def examine(plan: Plan) -> Mapping[str, "Examination"]:
            return _examined(plan, store, sources, weights) if tier.comparable else {}

        preview.ahead(
            tables,
            tier,
            store,
            sources,
            console,
            hashes=hashes,
            cells=cells,
            options=options,
            examine=examine,
        )
        return arguments.EXIT_OK
    full = build(tables, tier, sources, seeds, weights=hashes)
    plan = build(tables, tier, sources, seeds, weights=hashes, only=cells) if cells else full
    if options.dry_run:
        if options.json:
            print(json.dumps(overview(plan, store), indent=1))
        else:
            preview.show(plan, store, sources, console)
        return arguments.EXIT_OK
    store.prepare()
    recorded.read(store.folder)  # a damaged file is better named now than after the trainings
    _prepare_data(plan, store, sources, console)
    _account_for(plan, store, weights, console)
    device, workers = arguments.device(options.device), options.workers
    summary = _run(
        plan,
        store,
        sources,
        Options(
            device=device,
            workers=workers or _workers(device, tier),
            threads=tier.threads,
            checkpoint_seconds=options.checkpoint_seconds,
            fail_fast=options.fail_fast,
            weights=weights,
        ),
        console,
    )
    examined = _examined(full, store, sources, weights) if tier.comparable else {}
    results = judged(full, store, summary.failed, examined, points)
    folder = store.folder / "tables"
    for result in results:
        render.terminal(result, console)
        render.write(result, folder)
    render.summary(folder)
    tiers = ledger.other_tiers(options.tiers, tier)
    write_atomically(folder / PAGE, ledger.page(points, every, [tier, *tiers]))
    if options.all:
        _figure4(store.folder / "figures")
    _close(plan, summary, results, folder, console)
    if summary.interrupted:
        return arguments.EXIT_INTERRUPTED
    return arguments.EXIT_OK if summary.ok else arguments.EXIT_FAILED


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
    if not wanted and not options.list:
        raise ReplicationError("nothing to do: give --table N, --cell tableN/ID or --all")
    if cells:
        cells = [cell for cell, key in known.items() if cell in cells or key in whole]
    return [table for table in every if table.key in wanted], cells


def _check_power(options: argparse.Namespace) -> None:
    if options.power and not options.dry_run:
        raise ReplicationError("--power: goes with --dry-run; it plans, and runs nothing")
    if options.power and options.seeds is not None:
        raise ReplicationError("--seeds: not with --power, which goes by every seed on record")
    if options.deviation is not None and not options.power:
        raise ReplicationError("--deviation: goes with --dry-run --power")
    if options.deviation is not None and not 0 < options.deviation < math.inf:
        raise ReplicationError(
            f"--deviation {options.deviation:g}: must be above 0, in points of mIoU"
        )


def _seeds(count: int | None, tier: Tier) -> list[int]:
    if count is not None and count < 1:
        raise ReplicationError(f"--seeds {count}: must be at least 1")
    return list(range(tier.first_seed, tier.first_seed + (count or tier.seeds)))


def _workers(device: str, tier: Tier) -> int:
    """As many steps side by side as the cores have threads for; one on a GPU."""
    return max(1, (os.cpu_count() or 1) // tier.threads) if device == "cpu" else 1


def _prepare_data(plan: Plan, store: Store, sources: Sources, console: Console) -> None:
    """Find, make, check and decode every split that unfinished steps read, before any training."""
    todo = [step for step in plan.steps.values() if store.status(step) in ("missing", "partial")]
    needed = {(s.config["data"]["role"], s.config["data"]["split"]): None for s in todo}
    problems: dict[str, None] = {}
    for backbone in preview.missing_weights(plan):
        problems[f"this tier starts from ImageNet weights: give --weights {backbone}=FILE"] = None
    with console.status("") as status:
        for role, split in needed:

            def show(done: int, total: int, text: str = f"data {role} {split}") -> None:
                if done % 100 == 0 or done == total:
                    status.update(f"{text}: {done}/{total}")

            def announce(size: str, text: str = f"data {role} {split}") -> None:
                console.print(f"{text}: {size}", highlight=False, soft_wrap=True)

            try:
                if role == "imagenet":
                    sources.classification(split, show)
                else:
                    sources.segmentation(role, split, show, announce=announce)
            except DataError as problem:
                problems[str(problem)] = None
    unfinished = {step.id for step in todo}
    if not problems:
        runs = [run for run in plan.runs if run.evaluation and run.evaluation.id in unfinished]
        problems |= dict.fromkeys(guard.leaks(runs, sources))
    if problems:
        raise DataError("\n".join(problems))


def _account_for(plan: Plan, store: Store, weights: Mapping[str, Path], console: Console) -> None:
    """Say what each pretrained file gives the networks that start from it, before they train."""
    starts = [
        step
        for step in plan.steps.values()
        if step.config.get("initial") and store.status(step) in ("missing", "partial")
    ]
    backbones = {
        step.config["initial"]["backbone"]: step
        for step in starts
        if step.config["initial"]["sha256"] != RANDOM
    }
    if backbones:
        from replication.network.weights import account_of_file

        for backbone, step in backbones.items():
            network = backbone_only(Network.model_validate(step.config["network"]))
            for line in account_of_file(weights[backbone], network).lines():
                console.print(f"weights {backbone}: {line}", highlight=False, soft_wrap=True)


def _run(plan: Plan, store: Store, sources: Sources, options: Options, console: Console) -> Summary:
    todo = [step for step in plan.steps.values() if store.status(step) in ("missing", "partial")]
    display = RunDisplay(plan, len(plan.steps) - len(todo), console)
    with display.expect(sum(map(work, todo))):
        return run(plan, store, sources, options, display)


def _examined(
    plan: Plan, store: Store, sources: Sources, weights: Mapping[str, Path]
) -> dict[str, "Examination"]:
    """What the linter says of finished steps whose numbers could be called reproduced."""
    from replication.rules.linter import Linter

    linter = Linter(store, sources=sources, weights=weights, comparable=True)
    return {
        id_: linter.examine(id_) for id_, step in plan.steps.items() if store.status(step) == "done"
    }


def _figure4(folder: Path) -> None:
    from figures.fig4 import write

    write(folder)


def _list(tables: Sequence[Table], as_json: bool, console: Console) -> None:
    if as_json:
        shown = [
            {"table": t.key, "title": t.title, "cells": [cell.id for cell in t.cells]}
            for t in tables
        ]
        print(json.dumps(shown, indent=1))
        return
    for table in tables:
        console.print(f"[bold]{heading(table.key)}[/bold]  {table.title}", highlight=False)
        for cell in table.cells:
            published = "" if cell.published is None else f"{cell.published:6.2f}"
            what = cell.unavailable or ("published only" if cell.network is None else "")
            console.print(
                f"  {cell.name:<34} {published:>6}  {what}", highlight=False, markup=False
            )


def _close(
    plan: Plan, summary: Summary, results: Sequence[TableResult], folder: Path, console: Console
) -> None:
    """The closing summary: done, failed with its log, not run."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(
        f"{len(summary.done)} of {len(plan.steps)} steps done ({len(summary.ran)} in this run), "
        f"{len(summary.failed)} failed, {len(summary.not_run)} not run"
    )
    for id_, problem in summary.failed.items():
        say(f"failed   {plan.labels[id_]} ({id_}): {problem}")
    for id_, why in summary.not_run.items():
        say(f"not run  {plan.labels[id_]}: {why}")
    if results:
        say(f"tables: {folder}{os.sep}*.md, .csv, .json, .tex; overview: {folder / 'index.md'}")
    if summary.interrupted:
        say("interrupted: run the same command again to go on from the checkpoints")


if __name__ == "__main__":
    sys.exit(main())
