"""What further seeds cost: the steps that are not on record, and how long their like have taken."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from replication.errors import RunError
from replication.plan import Plan, sweeps
from replication.runs import Step, Store, read_json
from replication.statistics import mean

# How often a step must run, by its id: one of a further seed stands for those of all later seeds.
Bill = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Steps still to run, and their time one after another on the device of those on record."""

    trainings: int
    evaluations: int
    # Of the steps whose like is on record.
    seconds: float
    # How many others there are.
    untimed: int

    @property
    def steps(self) -> int:
        return self.trainings + self.evaluations


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What cells cost under more seeds than there are.

    `plan` has every seed on record, from the first on; `further` has the same tables under one
    seed beyond, which costs what every later one does.
    """

    plan: Plan
    further: Plan
    store: Store

    def bill(self, cells: Collection[str], seeds: int) -> Bill:
        """The steps not done that cells named `tableN/ID` need to have this many seeds in all."""
        planned = sorted({run.seed for run in self.plan.runs})
        bill = {
            step.id: 1
            for run in self.plan.runs
            if run.name in cells and run.seed in planned[:seeds]
            for step in run.steps
            if step.id in self._missing
        }
        if seeds > len(planned):
            for run in self.further.runs:
                new = [step.id for step in run.steps if step.id not in self.plan.steps]
                if run.name in cells:
                    bill |= dict.fromkeys(new, seeds - len(planned))
        return bill

    def cost(self, bill: Bill) -> Cost:
        """Evaluations of one network are made in one sweep over the pictures; it is counted whole
        though only some of those on record are asked for.
        """
        steps = [self._steps[id_] for id_ in bill]
        evaluations = [step for step in steps if step.kind == "evaluate"]
        trainings = [step for step in steps if step.kind != "evaluate"]
        seconds = sum((self._durations.get(s.id, 0.0) * bill[s.id] for s in trainings), 0.0)
        for sweep in sweeps(evaluations):
            times = max(bill[step.id] for step in sweep)
            seconds += sweep_seconds(sweep, self._durations) * times
        return Cost(
            trainings=sum(bill[step.id] for step in trainings),
            evaluations=sum(bill[step.id] for step in evaluations),
            seconds=seconds,
            untimed=sum(bill[step.id] for step in steps if step.id not in self._durations),
        )

    @cached_property
    def _steps(self) -> dict[str, Step]:
        return {**self.plan.steps, **self.further.steps}

    @cached_property
    def _missing(self) -> set[str]:
        return {
            id_
            for id_, step in self.plan.steps.items()
            if self.store.status(step) in ("missing", "partial")
        }

    @cached_property
    def _durations(self) -> dict[str, float]:
        return durations(self._steps, self.plan.steps.values(), self.store)


def durations(
    steps: Mapping[str, Step],
    recorded: Iterable[Step],
    store: Store,
    counts: Callable[[Path], bool] = lambda folder: True,
) -> dict[str, float]:
    """Seconds of those `steps` whose like is done among the `recorded` ones, by id.

    The mean over the seeds under which it is. `steps` has parents first, and the recorded ones;
    `counts` is asked of a record's folder whether its time is one that would be taken here.
    """
    likes: dict[str, str] = {}
    for id_, step in steps.items():
        likes[id_] = _like(step, likes)
    taken: dict[str, list[float]] = {}
    for step in recorded:
        if store.status(step) == "done" and counts(store.path(step.id)):
            seconds = record_seconds(store.path(step.id), step)
            if seconds is not None:
                taken.setdefault(likes[step.id], []).append(seconds)
    return {id_: mean(taken[like]) for id_, like in likes.items() if like in taken}


def sweep_seconds(sweep: Iterable[Step], seconds: Mapping[str, float]) -> float:
    """Of evaluations that are made together: every step has the sweep's time on record."""
    return sum({seconds[step.id] for step in sweep if step.id in seconds})


def union(bills: Iterable[Bill]) -> Bill:
    """What all of them need together: a step that several need runs for all."""
    together: dict[str, int] = {}
    for bill in bills:
        for id_, times in bill.items():
            together[id_] = max(times, together.get(id_, 0))
    return together


def _like(step: Step, likes: Mapping[str, str]) -> str:
    """What a step has in common with the same step under another seed."""
    config = {key: value for key, value in step.config.items() if key != "seed"}
    parent = likes[step.parent] if step.parent else None
    return json.dumps([step.kind, config, parent], sort_keys=True)


def record_seconds(folder: Path, step: Step) -> float | None:
    """How long a finished step took, or None where its record does not say.

    The outcome times the process that ended the step. Where that went on from a checkpoint, the
    log, which has the speed of all iterations, knows of more.
    """
    from replication.finished import Finished  # here: it reads records with numpy

    record = Finished(folder=folder)
    seconds: float | None = record.outcome.get("seconds")
    if step.kind == "evaluate" or not (record.folder / "log.jsonl").is_file():
        return seconds
    protocol = step.config["stage" if step.kind == "train" else "pretraining"]
    logged, before = 0.0, 0
    try:
        for entry in record.log:
            images = (entry["iteration"] - before) * protocol["batch_size"]
            logged, before = logged + images / entry["images_per_second"], entry["iteration"]
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise RunError(f"{record.folder / 'log.jsonl'}: damaged ({error!r})") from None
    return max(seconds or 0.0, logged)


def last_seed(store: Store) -> int | None:
    """The highest seed that any training on record has."""
    files = store.steps.glob("train-*/config.json")
    seeds = [read_json(file)["config"]["seed"] for file in files if file.parent.suffix == ""]
    return max(seeds, default=None)
