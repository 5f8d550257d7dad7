"""A forecast for people and for programs."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from replication.forecast.devices import PRECISIONS, Device
from replication.forecast.disk import Written
from replication.forecast.memory import gigabytes, what_would_fit
from replication.forecast.outlook import Expected, Outlook
from replication.forecast.prices import precision

# A plan that takes longer than this is also reckoned for the known GPUs.
LONG = 24 * 3600.0

# More of them than this are counted only; --json has all.
MOST_WARNINGS = 4
# Of a probe of a shape whose iterations are short.
PROBE_SECONDS = 4.0

BASES = {
    "record": "as the same step took under another seed",
    "probe": "by a probe of its shape",
    "nearest": "by counted FLOPs and bytes, at the rate of the nearest step on record",
    "table": "by counted FLOPs and bytes, at shares of the device's peaks that are assumed",
    "unknown": "unknown: no step on record, no probe, and devices.toml does not know the device",
}


MEMORY_BASES = {"counted": "counted", "probe": "measured by a probe"}


def amount(seconds: float | None) -> str:
    """A time to two digits: "45 s", "12 min", "3.4 h", "23 days"."""
    if seconds is None:
        return "?"
    for size, unit, most in ((1, "s", 100), (60, "min", 100 * 60), (3600, "h", 100 * 3600)):
        if seconds < most:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{seconds / 86400:.2g}'):,g} days"


def columns(rows: Sequence[Sequence[str]], numeric: Sequence[int]) -> list[str]:
    """Rows of texts under each other; the first is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.rjust(width) if column in numeric else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def lines(found: Outlook, *, chosen: int) -> list[str]:
    """The totals, as `--dry-run` prints them. `chosen`: workers, or GPUs, that were asked for."""
    if not found.expected:
        return ["nothing is left to run"]
    here = found.here
    said = [f"What is still to run costs, on {'' if not here.imagined else 'one '}{here.title}:"]
    said += [f"  {line}" for line in _time(found)]
    said += [f"  {line}" for line in _memory(found)]
    said += [f"  {line}" for line in _disk(found)]
    if not found.untimed:
        said += ["", *_queue(found, chosen)]
    if found.untimed or (here.kind == "cpu" and found.device_seconds > LONG):
        said += ["", *_elsewhere(found)]
    return said


def _time(found: Outlook) -> list[str]:
    trainings = [one for one in found.expected if one.job[0].kind != "evaluate"]
    sweeps = [one for one in found.expected if one.job[0].kind == "evaluate"]
    parts = []
    for one, what in ((trainings, "training"), (sweeps, "evaluation sweep")):
        if one:
            seconds = sum(each.seconds or 0.0 for each in one)
            parts.append(f"{len(one)} {what}{'s' * (len(one) > 1)} {amount(seconds)}")
    if found.untimed == len(found.expected):
        total = "unknown"
    else:
        total = f"{float(f'{found.device_seconds / 3600:.3g}'):,g} device-hours"
    said = [f"time    {total} ({', '.join(parts)})"]
    for basis, count in found.bases().items():
        jobs = f"{count} job{'s' * (count > 1)}"
        said.append(f"        {jobs}: {_basis(basis, found.prices.workers)}")
    measurable = len(found.shapes())
    if measurable and not found.here.imagined:
        said.append(f"        --probe measures the {measurable} distinct shapes of these")
    return said


def _basis(rests_on: str, workers: int) -> str:
    """What a time rests on, in a sentence; a probe with other workers is named by their number."""
    if rests_on in BASES:
        return BASES[rests_on]
    return f"by a probe of its shape with {rests_on.partition(', ')[2]}; this is for {workers}"


def _memory(found: Outlook) -> list[str]:
    largest, here = found.largest, found.here
    assert largest is not None
    there = f", of {gigabytes(here.memory)}" if here.memory else ""
    if (side := found.side_by_side) > 1:
        there = f"; at most {gigabytes(found.together(side))} for {side} side by side{there}"
    basis = MEMORY_BASES[largest.memory.rests_on]
    said = [f"memory  {gigabytes(largest.memory.total)} at most, {basis} ({largest.label}){there}"]
    measured = sum(one.memory.rests_on == "probe" for one in found.expected)
    if 0 < measured < len(found.expected):
        said.append(f"        {measured} of {len(found.expected)} jobs: {MEMORY_BASES['probe']}")
    return said + [f"        {line}" for line in shortened(warnings(found))]


def _disk(found: Outlook) -> list[str]:
    disk = found.disk
    parts = {"weights": disk.weights, "counts": disk.counts, "logs and lists": disk.records}
    listed = ", ".join(f"{name} {decimal(int(size))}" for name, size in parts.items() if size)
    said = [f"disk    {decimal(int(disk.results))} of results: {listed}"]
    if disk.checkpoint:
        checkpoint = decimal(int(disk.checkpoint))
        said.append(f"        and a checkpoint of up to {checkpoint} for each training under way")
    if disk.cache:
        free = f"; {decimal(_free(disk.folder))} free"
        said.append(
            f"cache   {decimal(int(disk.cache))} of decoded pictures in {disk.folder}, "
            f"as far as they are not there yet{free}"
        )
    return said


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _queue(found: Outlook, chosen: int) -> list[str]:
    """The makespan for 1 to 64 workers; the chosen number has a star."""
    spans = found.makespans(chosen)
    what = "GPUs" if found.here.kind == "cuda" else "workers"
    rows = [
        [what, *(f"{one.workers}{'*' * (one.workers == chosen)}" for one in spans)],
        ["makespan", *(amount(one.seconds) for one in spans)],
        ["at work", *(f"{one.use:.0%}" for one in spans)],
    ]
    said = columns(rows, range(1, len(spans) + 1))
    each = "one to itself" if what == "GPUs" else "a core for every thread"
    said.append(
        f"no number of {what} is quicker than the longest chain, {amount(found.longest_chain)}; "
        f"every job is taken to have {each}"
    )
    if what == "GPUs" and chosen > 1:
        said.append(
            "one run uses one GPU: start as many on one results folder, each with its own "
            "CUDA_VISIBLE_DEVICES; every step runs once"
        )
    return said


def _elsewhere(found: Outlook) -> list[str]:
    """Device-hours on the known GPUs: in the plan's own precision, and were it another."""
    planned = {precision(one.job[0].config) for one in found.expected}
    gpus = [one for one in found.prices.table.devices.values() if one.kind == "cuda"]
    rows = [["device-hours on one", "as planned", *PRECISIONS, "of its peak", "jobs too large"]]
    for gpu in gpus:
        hours = found.on(gpu)
        rows.append(
            [
                gpu.title,
                f"{float(f'{hours:.2g}'):,g}",
                *(_hours(found, gpu, mode) for mode in PRECISIONS),
                f"{_share(found, gpu, hours):.0%}",
                str(_too_large(found, gpu) or ""),
            ]
        )
    return [
        *columns(rows, range(1, len(rows[0]))),
        f"not measured: counted FLOPs and bytes at assumed shares of published peaks "
        f"(devices.toml); planned precision: {', '.join(sorted(planned))}",
    ]


def _hours(found: Outlook, gpu: Device, mode: str) -> str:
    return f"{float(f'{found.on(gpu, mode):.2g}'):,g}" if mode in gpu.peak else "–"


def _share(found: Outlook, gpu: Device, hours: float) -> float:
    """FLOPs in the plan's precision, against what the peak would make in that time."""
    needed = sum(
        one.left * one.effort.flops / gpu.peak.get(precision(one.job[0].config), gpu.peak["fp32"])
        for one in found.expected
    )
    return needed / (3600 * hours) if hours else 0.0


def _too_large(found: Outlook, gpu: Device) -> int:
    assert gpu.memory is not None
    return sum(one.total > gpu.memory for one in found.on_gpu)


def shortened(said: Sequence[str]) -> list[str]:
    """The first of many lines, and how many more there are."""
    more = len(said) - MOST_WARNINGS
    return [*said[:MOST_WARNINGS], *([f"warning: and {more} more like these"] if more > 0 else [])]


def warnings(found: Outlook) -> list[str]:
    """A line for each job that is predicted not to fit, and one where too many run side by side;
    first, one for arithmetic that the device lacks.
    """
    modes = sorted({precision(one.job[0].config) for one in found.expected})
    lacking = [f"warning: {why}" for mode in modes if (why := found.here.lacks(mode))]
    said = [f"warning: {too_large(one, found)}" for one in found.too_large()]
    side, available = found.side_by_side, found.here.memory
    if available and not said and found.together(side) > available:
        fitting = max(n for n in range(1, side) if found.together(n) <= available)
        said.append(
            f"warning: the {side} largest jobs side by side need "
            f"{gigabytes(found.together(side))}, {_owner(found)} has {gigabytes(available)}; "
            f"--workers {fitting} would fit"
        )
    return lacking + said


def beginning(found: Outlook) -> list[str]:
    """How a run goes on: its workers, the most memory that they are predicted to take, warnings."""
    largest, side, threads = found.largest, found.side_by_side, found.here.threads
    if largest is None:  # what is unfinished waits for what failed
        return []
    said = f"{side} worker{'s' * (side > 1)}, {threads} thread{'s' * (threads > 1)}"
    said += f"{' each' * (side > 1)}; memory at most {gigabytes(largest.memory.total)}"
    if side > 1:
        said += f" a worker, {gigabytes(found.together(side))} in all"
    said += f", {MEMORY_BASES[largest.memory.rests_on]}"
    available = found.here.memory
    if available:
        said += f"; {_owner(found)} has {gigabytes(available)}"
    return [said, *shortened(warnings(found))]


def _owner(found: Outlook) -> str:
    return "the machine" if found.here.kind == "cpu" else "the GPU"


def too_large(one: Expected, found: Outlook) -> str:
    """Why a job is predicted not to fit, and what would."""
    here, step = found.here, one.job[0]
    if step.kind == "evaluate":
        return (
            f"{one.label} is predicted to run out of memory: it needs about "
            f"{gigabytes(one.memory.total)}, the device has {gigabytes(here.memory or 0)}"
        )
    classes = found.prices.splits.of(step.config["data"]["role"], step.config["data"]["split"])
    advice = what_would_fit(step.config, classes.classes, here.kind, here.memory, one.memory.total)
    return f"{one.label} is predicted to run out of memory {advice}"


def as_json(found: Outlook, chosen: int) -> dict[str, Any]:
    """The forecast for programs; sizes in bytes."""
    here = found.here
    return {
        "device": {
            "name": here.title, "kind": here.kind, "memory": here.memory,
            "at hand": not here.imagined, "threads": here.threads,
        },
        "device_hours": None if found.untimed else found.device_seconds / 3600,
        "rests_on": found.bases(),
        "peak_memory": found.largest.memory.total if found.largest else 0,
        "peak_memory_rests_on": found.largest.memory.rests_on if found.largest else None,
        "disk": {**_bytes(found.disk), "folder": str(found.disk.folder)},
        "makespans": [] if found.untimed else [
            {"workers": one.workers, "seconds": one.seconds, "at_work": one.use,
             "chosen": one.workers == chosen}
            for one in found.makespans(chosen)
        ],
        "longest_chain": None if found.untimed else found.longest_chain,
        "known_devices": {
            gpu.key: {
                "device_hours": found.on(gpu),
                **{mode: found.on(gpu, mode) for mode in gpu.peak},
                "too_large": _too_large(found, gpu),
            }
            for gpu in found.prices.table.devices.values() if gpu.kind == "cuda"
        },
        "to_probe": [one.label for one in found.shapes()],
        "warnings": warnings(found),
        "jobs": [
            {
                "steps": [step.id for step in one.job],
                "label": one.label,
                "seconds": one.seconds,
                "rests_on": one.price.rests_on,
                "nearest": one.price.nearest or None,
                "flops": one.left * one.effort.flops,
                "bytes_moved": one.left * (one.effort.moved + one.effort.convolved),
                "memory": {
                    **asdict(one.memory), "total": one.memory.total,
                    "rests_on": one.memory.rests_on,
                },
                "disk": {step.id: _bytes(found.written(step)) for step in one.job},
            }
            for one in found.expected
        ],
    }  # fmt: skip


def _bytes(disk: Written) -> dict[str, Any]:
    return {**asdict(disk), "results": disk.results}


def probing_seconds(found: Outlook, workers: int) -> float:
    """About how long the missing probes take, some of them side by side."""
    total = 0.0
    for one in found.shapes():
        unit = found.prices.modelled(one.effort, one.configs[0]) or 0.0
        # Two warming up; then three times a second, or once where a unit takes longer.
        total += max(PROBE_SECONDS, 3 * unit)
    return found.prices.table.worker + total / max(1, min(workers, len(found.shapes())))


def of_step(found: Outlook, step_id: str) -> tuple[str, str, str]:
    """Seconds, peak memory and disk of a step still to run, for a table; empty for others.

    Time and memory are its job's, the disk its own.
    """
    one = found.by_step.get(step_id)
    if one is None:
        return ("", "", "")
    disk = decimal(int(found.written(found.plan.steps[step_id]).results))
    return (amount(one.seconds), gigabytes(one.memory.total), disk)
