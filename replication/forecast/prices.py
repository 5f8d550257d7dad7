"""Seconds of each job still to run, each with what they rest on. No torch.

In this order: the same step under another seed on record, from this device; a probe of its shape
beside as many others as are to run; such a probe beside another number of them; the counted effort
at the rate of the nearest step on record, from this device; the counted effort at the rates that
the table of devices gives.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from replication.cost import durations, record_seconds, sweep_seconds
from replication.forecast.devices import Here, Known
from replication.forecast.effort import Effort, sweep, training
from replication.forecast.pictures import Splits
from replication.forecast.probes import Probes, Shape, shape
from replication.inference import BATCH_PIXELS
from replication.plan import Plan
from replication.runs import Step, Store, read_json
from replication.workers import Job

Basis = Literal["record", "probe", "other probe", "nearest", "table", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Price:
    """Seconds of a job, or None where nothing is known of the device; and what they rest on."""

    seconds: float | None
    basis: Basis
    # The step on record that is nearest.
    nearest: str = ""
    # Side by side as the probe was made.
    probe_workers: int = 0

    @property
    def rests_on(self) -> str:
        """The basis by name: "probe, 1 worker" is one made beside another number of them."""
        if self.basis != "other probe":
            return self.basis
        return f"probe, {self.probe_workers} worker{'s' * (self.probe_workers > 1)}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A job on record: how its time compares with what the table says, and what it was like."""

    label: str
    evaluation: bool
    # Of one iteration or picture.
    effort: Effort
    # Seconds it took for each second by the table.
    ratio: float

    def distance(self, other: Effort) -> float:
        """How unlike another job of its kind is: in size, and in FLOPs for each byte."""
        return abs(math.log(self.effort.flops / other.flops)) + abs(
            math.log(self.effort.flops / self.effort.moved * other.moved / other.flops)
        )


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What jobs of a plan take on a device; `workers` of them run side by side."""

    plan: Plan
    store: Store
    splits: Splits
    here: Here
    table: Known
    probes: Probes
    workers: int = 1

    def of(self, job: Job) -> Price:
        """The price of a whole job, from its beginning."""
        if all(step.id in self._recorded for step in job):
            return Price(seconds=sweep_seconds(job, self._recorded), basis="record")
        effort = self.effort(job)
        found = self.probes.of(self.shape(job), self.workers)
        if found is not None:
            probe, number = found
            # Of one iteration, or of the pictures that the probe evaluated.
            share = effort.flops / probe.flops
            return Price(
                seconds=share * probe.seconds + self.table.job,
                basis="probe" if number == self.workers else "other probe",
                probe_workers=number,
            )
        modelled = self.modelled(effort, job[0].config)
        if modelled is None:
            return Price(seconds=None, basis="unknown")
        unit = effort.times(1 / effort.units, 1)
        evaluation = job[0].kind == "evaluate"
        near = [one for one in self._measured if one.evaluation == evaluation]
        if near:
            nearest = min(near, key=lambda one: one.distance(unit))
            return Price(seconds=modelled * nearest.ratio, basis="nearest", nearest=nearest.label)
        return Price(seconds=modelled + self.table.job, basis="table")

    def effort(self, job: Job) -> Effort:
        """FLOPs, bytes and operations of the job."""
        return self._effort([step.config for step in job])

    def shape(self, job: Job) -> Shape:
        """What a probe of the job measures."""
        data = job[0].config["data"]
        split = self.splits.of(data["role"], data["split"])
        return shape([step.config for step in job], split, self.here)

    def _effort(self, configs: Sequence[Mapping[str, Any]]) -> Effort:
        data = configs[0]["data"]
        split = self.splits.of(data["role"], data["split"])
        if "evaluation" not in configs[0]:
            return training(configs[0], split.classes)
        return sweep(configs, split.classes, split.sizes, BATCH_PIXELS[self.here.kind])

    def modelled(self, effort: Effort, config: Mapping[str, Any]) -> float | None:
        """Seconds by the table alone, of this device or, to compare with others, of any."""
        device = self.here.known
        if device is None:
            # Any device will do to compare with a step that was measured.
            device = self.table.named("a100") if self._measured_folders else None
        if device is None:
            return None
        return self.table.seconds(effort, device, precision(config), self.here.threads)

    @cached_property
    def _recorded(self) -> dict[str, float]:
        steps = self.plan.steps
        return durations(steps, steps.values(), self.store, self._counts)

    def _counts(self, folder: Path) -> bool:
        """Whether a record's time is one of this device."""
        file = folder / "environment.json"
        return file.is_file() and self.here.measured(read_json(file))

    @cached_property
    def _measured_folders(self) -> tuple[Path, ...]:
        """Steps done on this device, whatever plan they are of."""
        folders = sorted(file.parent for file in self.store.steps.glob("*/outcome.json"))
        return tuple(
            folder
            for folder in folders
            if read_json(folder / "outcome.json").get("status") == "done" and self._counts(folder)
        )

    @cached_property
    def _measured(self) -> tuple[Measured, ...]:
        """Jobs on record on this device, on data that the plan reads too."""
        known = {
            (data["role"], data["split"]): data["fingerprint"]
            for data in (step.config["data"] for step in self.plan.steps.values())
        }
        sweeps: dict[str, list[Step]] = {}
        for folder in self._measured_folders:
            identity = read_json(folder / "config.json")
            data = identity["config"]["data"]
            if known.get((data["role"], data["split"])) != data["fingerprint"]:
                continue
            step = Step(kind=identity["kind"], config=identity["config"], parent=identity["parent"])
            seconds = record_seconds(folder, step)
            if seconds:
                # Evaluations made in one sweep have its time, all of them.
                together = [step.parent, data["fingerprint"], seconds]
                key = step.id if step.kind != "evaluate" else json.dumps(together)
                sweeps.setdefault(key, []).append(step)
        return tuple(self._compared(steps) for steps in sweeps.values())

    def _compared(self, steps: Sequence[Step]) -> Measured:
        effort = self._effort([step.config for step in steps])
        seconds = record_seconds(self.store.path(steps[0].id), steps[0])
        modelled = self.modelled(effort, steps[0].config)
        assert seconds and modelled
        return Measured(
            label=self.plan.labels.get(steps[0].id, steps[0].id),
            evaluation=steps[0].kind == "evaluate",
            effort=effort.times(1 / effort.units, 1),
            ratio=seconds / modelled,
        )


def precision(config: Mapping[str, Any]) -> str:
    """The arithmetic of a step, by its configuration."""
    one = config.get("stage") or config.get("pretraining") or config["evaluation"]
    return str(one.get("precision", "fp32"))
