"""The forecast of a plan: every job still to run with its seconds and memory, and the totals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from replication.data.sources import Sources, cache_folder
from replication.forecast import disk, memory
from replication.forecast.devices import Device, Here, Known, load
from replication.forecast.disk import Written
from replication.forecast.effort import Effort, grouped
from replication.forecast.memory import Memory
from replication.forecast.pictures import Splits
from replication.forecast.prices import Price, Prices, precision
from replication.forecast.probes import Probes, Shape
from replication.forecast.schedule import Makespan, longest_chain, makespans, unfinished
from replication.plan import Plan
from replication.protocol import Evaluation, Network
from replication.runs import Status, Step, Store
from replication.workers import Job


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One job: a training, or evaluations of one network in one sweep."""

    job: Job
    label: str
    price: Price
    # Of the whole job; what is left of one that was broken off is a share of it.
    effort: Effort
    left: float
    memory: Memory

    @property
    def seconds(self) -> float | None:
        """Seconds still to come."""
        return None if self.price.seconds is None else self.left * self.price.seconds


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """All jobs of the plan's unfinished steps, in the order in which they are taken."""

    plan: Plan
    prices: Prices
    expected: tuple[Expected, ...]
    disk: disk.Disk

    @property
    def here(self) -> Here:
        return self.prices.here

    @cached_property
    def by_step(self) -> Mapping[str, Expected]:
        return {step.id: one for one in self.expected for step in one.job}

    @property
    def untimed(self) -> int:
        """Jobs of which no time is known."""
        return sum(one.seconds is None for one in self.expected)

    @cached_property
    def device_seconds(self) -> float:
        """Of all jobs one after another."""
        return sum(one.seconds or 0.0 for one in self.expected)

    @cached_property
    def largest(self) -> Expected | None:
        """The job that takes most memory."""
        return max(self.expected, key=lambda one: one.memory.total, default=None)

    @property
    def side_by_side(self) -> int:
        """Jobs that share the device's memory."""
        return min(self.prices.workers, len(self.expected))

    def together(self, number: int) -> float:
        """Bytes of so many jobs at once, were they the largest."""
        sizes = sorted((one.memory.total for one in self.expected), reverse=True)
        return sum(sizes[:number])

    def seconds(self, job: Job) -> float:
        """Of one job, for schedules; 0 where nothing is known of it."""
        one = self.by_step.get(job[0].id)
        return (one.seconds if one else None) or 0.0

    def makespans(self, chosen: int | None = None) -> list[Makespan]:
        """On 1 to 64 workers or devices."""
        queue = [one.job for one in self.expected]
        return makespans(queue, self.seconds, chosen, self.prices.table.worker)

    @cached_property
    def longest_chain(self) -> float:
        return longest_chain([one.job for one in self.expected], self.seconds)

    def written(self, step: Step) -> Written:
        """The disk that a step takes."""
        return disk.of_step(step, self.prices.splits)

    def bases(self) -> dict[str, int]:
        """How many jobs rest on what."""
        found: dict[str, int] = {}
        for one in self.expected:
            found[one.price.rests_on] = found.get(one.price.rests_on, 0) + 1
        return found

    def shapes(self) -> list[Shape]:
        """What a probe could still measure here: distinct shapes of jobs without a better basis."""
        found: dict[str, Shape] = {}
        for one in self.expected:
            if one.price.basis not in ("record", "probe"):
                shape = self.prices.shape(one.job)
                found.setdefault(shape.key, shape)
        return list(found.values())

    def too_large(self) -> list[Expected]:
        """Jobs that are predicted not to fit into the device's memory."""
        available = self.here.memory
        if available is None:
            return []
        return [one for one in self.expected if one.memory.total > available]

    @cached_property
    def on_gpu(self) -> tuple[Memory, ...]:
        """Each job's memory on a GPU that does not hold the pictures."""
        return tuple(memory_of(one.job, self.prices.splits, "cuda", None) for one in self.expected)

    def on(self, device: Device, mode: str | None = None) -> float:
        """Device-hours on another device by the table, in the plan's precision or in `mode`."""
        table = self.prices.table
        seconds = [
            one.left * table.seconds(one.effort, device, mode or precision(one.job[0].config))
            for one in self.expected
        ]
        return sum(seconds) / 3600


def outlook(
    plan: Plan,
    store: Store,
    sources: Sources,
    here: Here,
    *,
    workers: int,
    states: Mapping[str, Status] | None = None,
    table: Known | None = None,
) -> Outlook:
    """Forecast what is still to run; `workers` of the jobs are to run side by side."""
    states = states or {id_: store.status(step) for id_, step in plan.steps.items()}
    prices = Prices(
        plan=plan,
        store=store,
        splits=Splits(sources),
        here=here,
        table=table or load(),
        probes=Probes(),
        workers=workers,
    )
    queue = unfinished(plan, states)
    expected = tuple(_expected(job, prices) for job in queue)
    todo = {step.id: step for job in queue for step in job}
    return Outlook(
        plan=plan,
        prices=prices,
        expected=expected,
        disk=disk.of(todo, prices.splits, cache_folder()),
    )


def memory_of(job: Job, splits: Splits, kind: str, available: float | None) -> Memory:
    """Predicted for a job on a device of this kind, which has so many bytes."""
    configs = [step.config for step in job]
    data = configs[0]["data"]
    split = splits.of(data["role"], data["split"])
    if job[0].kind == "evaluate":
        return memory.of_sweep(configs, split.classes, split.sizes, kind)
    pictures = memory.resident(split.pixels, kind, available)
    return memory.of_training(configs[0], split.classes, kind, pictures)


def _expected(job: Job, prices: Prices) -> Expected:
    here, label = prices.here, prices.plan.labels[job[0].id]
    if len(job) > 1:
        label += f" (+{len(job) - 1} strategies)"
    return Expected(
        job=job,
        label=label,
        price=prices.of(job),
        effort=prices.effort(job),
        left=left(job, prices.store.partial(job[0].id)),
        memory=_measured(job, prices, memory_of(job, prices.splits, here.kind, here.memory)),
    )


def _measured(job: Job, prices: Prices, counted: Memory) -> Memory:
    """A job's memory with the peak that a probe of it measured, where there is one.

    Other processes change its speed, not what it allocates: one with any number of workers will do.
    """
    shape = prices.shape(job)
    found = prices.probes.of(shape, prices.workers)
    if found is None or found[0].memory is None:
        return counted
    if shape.pictures:
        config, data = job[0].config, job[0].config["data"]
        network = Network.model_validate(config["network"])
        strategy = Evaluation.model_validate(config["evaluation"])
        sizes = prices.splits.of(data["role"], data["split"]).sizes
        if len(grouped(network, strategy, sizes)) > 1:
            return counted  # the probe was of the commonest size, not of the largest
    return replace(counted, measured=found[0].memory)


def left(job: Job, folder: Path) -> float:
    """The share of a job that a broken-off run has left to do, by its log."""
    if job[0].kind == "evaluate" or not (folder / "checkpoint.safetensors").is_file():
        return 1.0
    config: Mapping[str, Any] = job[0].config
    iterations = (config.get("stage") or config["pretraining"])["iterations"]
    try:
        last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
        return max(0.0, 1.0 - last["iteration"] / iterations)
    except (OSError, ValueError, LookupError, TypeError):
        return 1.0  # the run itself says what is damaged
