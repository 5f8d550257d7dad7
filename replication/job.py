"""The main job: prepare the data, run what is missing, judge, render, and say what came of it."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from replication import arguments, guard, ledger, render
from replication.asked import Asked
from replication.collect import judged
from replication.errors import DataError, ReplicationError
from replication.files import write_atomically
from replication.forecast import shown as forecast
from replication.forecast.devices import here
from replication.forecast.outlook import outlook
from replication.forecast.prices import precision
from replication.plan import RANDOM, Plan, backbone_only, missing_weights, work
from replication.progress import RunDisplay
from replication.protocol import Network
from replication.render.points import PAGE
from replication.results import TableResult
from replication.submission import recorded
from replication.time_left import TimeLeft
from replication.workers import Options, Summary, on_record
from replication.workers import run as run_steps

# Of the steps that were not run for one reason, so many are named.
NAMED = 5


def run(asked: Asked, console: Console) -> int:
    """Do what was asked; returns the exit status."""
    options, store = asked.options, asked.store
    store.prepare()
    recorded.read(store.folder)  # a damaged file is better named now than after the trainings
    _check_device(asked)
    _prepare_data(asked, console)
    _account_for(asked, console)
    _foresee(asked, console)
    summary = _run(asked, console)
    results = judged(asked.full, store, summary.failed, asked.examined(asked.full), asked.points)
    folder = store.folder / "tables"
    for result in results:
        # A table that was interrupted before its first number would only hide how to go on.
        if not summary.interrupted or any(cell.measured for cell in result.cells):
            render.terminal(result, console)
        render.write(result, folder)
    render.summary(folder)
    tiers = ledger.other_tiers(options.tiers, asked.tier)
    write_atomically(folder / PAGE, ledger.page(asked.points, asked.every, [asked.tier, *tiers]))
    if options.all:
        _figure4(store.folder / "figures")
    _close(asked.plan, summary, results, folder, console)
    if summary.interrupted:
        return arguments.EXIT_INTERRUPTED
    return arguments.EXIT_OK if summary.ok else arguments.EXIT_FAILED


def _check_device(asked: Asked) -> None:
    """Refuse a GPU that is not here, and steps in a precision that the device lacks, before hours
    go into decoding. Torch is imported only where there is a question.
    """
    wanted: dict[str, str] = {}
    for step in asked.unfinished:
        wanted.setdefault(precision(step.config), step.id)  # the first is named
    if not wanted or (asked.options.device != "cuda" and not wanted.keys() - {"fp32"}):
        return
    place = here(arguments.device(asked.options.device), asked.tier.threads)
    problems = [
        f"tier {asked.tier.name}: {asked.plan.labels[id_]}: {why}"
        for mode, id_ in wanted.items()
        if (why := place.lacks(mode))
    ]
    if problems:
        raise ReplicationError("\n".join(problems))


def _prepare_data(asked: Asked, console: Console) -> None:
    """Find, make, check and decode every split that unfinished steps read, before any training."""
    plan, sources = asked.plan, asked.sources
    todo = asked.unfinished
    needed = {(s.config["data"]["role"], s.config["data"]["split"]): None for s in todo}
    problems: dict[str, None] = {}
    for backbone in missing_weights(plan):
        problems[f"this tier starts from ImageNet weights: give --weights {backbone}=FILE"] = None
    lacking = bool(problems)
    with console.status("") as status:
        for role, split in needed:

            def show(done: int, total: int, text: str = f"data {role} {split}") -> None:
                if done % 100 == 0 or done == total:
                    status.update(f"{text}: {done}/{total}")

            def announce(size: str, text: str = f"data {role} {split}") -> None:
                console.print(f"{text}: {size}", highlight=False, soft_wrap=True)

            try:
                if lacking:  # nothing will be run: pictures need not be decoded to say so
                    sources.find(role)
                elif role == "imagenet":
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


def _account_for(asked: Asked, console: Console) -> None:
    """Say what each pretrained file gives the networks that start from it, before they train."""
    starts = [step for step in asked.unfinished if step.config.get("initial")]
    backbones = {
        step.config["initial"]["backbone"]: step
        for step in starts
        if step.config["initial"]["sha256"] != RANDOM
    }
    if backbones:
        from replication.network.weights import account_of_file

        for backbone, step in backbones.items():
            network = backbone_only(Network.model_validate(step.config["network"]))
            for line in account_of_file(asked.weights[backbone], network).lines():
                console.print(f"weights {backbone}: {line}", highlight=False, soft_wrap=True)


def _foresee(asked: Asked, console: Console) -> None:
    """What the linter would hold against finished records, before days are spent on them.

    A network that is not what its spec says is a mistake, and stops here where numbers are compared
    with the paper's. A split that is not the official one may be all that a user has, and is told;
    so is everything where little is lost.
    """
    problems = []
    for finding in asked.foreseen():
        line = f"{asked.plan.labels[finding.step]}: {finding}"
        if finding.rule == "split size" or not asked.tier.comparable:
            text = f"warning: {line}; its cells will be suspect"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            problems.append(line)
    if problems:
        raise ReplicationError("\n".join(problems))


def _run(asked: Asked, console: Console) -> Summary:
    options, plan = asked.options, asked.plan
    if not asked.unfinished:
        return on_record(plan, asked.store)  # and neither torch nor a device is needed
    device = arguments.device(options.device)
    place = here(device, asked.tier.threads)
    workers = options.workers or place.workers
    chosen = Options(
        device=device,
        workers=workers,
        threads=place.threads,
        checkpoint_seconds=options.checkpoint_seconds,
        fail_fast=options.fail_fast,
        weights=asked.weights,
    )
    ahead = outlook(plan, asked.store, asked.sources, place, workers=workers)
    for line in forecast.beginning(ahead):
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    # Seconds; or, on a device of which nothing is known, the plan's own weights.
    left = TimeLeft(
        {
            one.job: one.left * work(*one.job) if ahead.untimed else one.seconds or 0.0
            for one in ahead.expected
        },
        workers,
        done_before={one.job: 1.0 - one.left for one in ahead.expected},
    )
    done = len(plan.steps) - len(asked.unfinished)
    with RunDisplay(plan, done, console, left) as display:
        return run_steps(plan, asked.store, asked.sources, chosen, display)


def _figure4(folder: Path) -> None:
    from figures.fig4 import drawn, write

    if not drawn(folder):
        write(folder)


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
    reasons: dict[str, list[str]] = {}
    for id_, why in summary.not_run.items():
        reasons.setdefault(why, []).append(plan.labels[id_])
    for why, labels in reasons.items():
        for label in labels[:NAMED]:
            say(f"not run  {label}: {why}")
        if len(labels) > NAMED:
            say(f"not run  and {len(labels) - NAMED} more: {why}")
    if results:
        say(f"tables: {folder}{os.sep}*.md, .csv, .json, .tex; overview: {folder / 'index.md'}")
    if summary.interrupted:
        say("interrupted: run the same command again to go on from the checkpoints")
