"""Known devices and the one at hand: peak rates, bandwidth, memory; seconds of counted effort."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from replication.environment import (
    BF16,
    at_most_cores,
    has_bf16,
    installed,
    processor,
    vectors,
)
from replication.errors import ReplicationError, SpecError
from replication.forecast.effort import Effort
from replication.spec.checks import Place, display, fields, nearest, read_toml

DEVICES = Path(__file__).resolve().parents[2] / "devices.toml"
Kind = Literal["cpu", "cuda"]
PRECISIONS = ("fp32", "tf32", "bf16")
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
DEVICE_TYPES: dict[str, Any] = {
    "title": Annotated[str, Field(min_length=1)], "names": tuple[str, ...], "kind": Kind,
    "memory": Rate, "bandwidth": Rate, **dict.fromkeys(PRECISIONS, Rate),
}  # fmt: skip
SHARE_TYPES = dict.fromkeys((*PRECISIONS, "bandwidth"), Share)
OVERHEAD_TYPES: dict[str, Any] = {"launch": dict[Kind, Rate], "job": Rate, "worker": Rate}
# What hides GPUs from a program, or gives it others first.
VISIBLE = "CUDA_VISIBLE_DEVICES"
IDS = ("GPU-", "MIG-")
# Prefixes of the vector instructions that tell one processor from another.
WIDE = ("amx", "asimd", "avx", "sve")
# Half of what is moved is half as long in memory.
BYTES = {"fp32": 1.0, "tf32": 1.0, "bf16": 0.5}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One known device; rates in FLOP/s and bytes/s, memory in bytes where it has its own."""

    key: str
    title: str
    kind: Kind
    names: tuple[str, ...]
    bandwidth: float
    peak: Mapping[str, float]
    memory: float | None


@dataclass(frozen=True, kw_only=True)
class Known:
    """The table of devices, with the shares of their peaks that are assumed."""

    devices: Mapping[str, Device]
    shares: Mapping[str, float]
    launch: Mapping[str, float]
    # Seconds before a job's first iteration or picture, and of a worker before its first job.
    job: float
    worker: float

    def named(self, key: str) -> Device:
        """The device `key`. Raises ReplicationError for a name that is not in the table."""
        if key not in self.devices:
            raise ReplicationError(
                f"--device-name {key}: no such device; {nearest(key, self.devices)}; "
                f"{display(DEVICES)} lists them"
            )
        return self.devices[key]

    def gpu(self, name: str) -> Device | None:
        """The GPU whose driver calls it so."""
        found = [
            d for d in self.devices.values() if d.kind == "cuda" for one in d.names if one in name
        ]
        return found[0] if found else None

    def core(self, flags: str) -> Device:
        """A core of a processor with these vector instructions."""
        cores = [device for device in self.devices.values() if device.kind == "cpu"]
        fitting = [d for d in cores if d.names and all(name in flags for name in d.names)]
        return (fitting or [d for d in cores if not d.names])[0]

    def seconds(self, effort: Effort, device: Device, precision: str, threads: int = 1) -> float:
        """How long the device takes by its peaks and the shares of them that are assumed.

        A core works on operations one after another as they are started; a GPU is told of the next
        ones meanwhile, and waits only where they are too short.
        """
        # A device without the mode computes in fp32; one with it is no slower than that.
        mode = precision if precision in device.peak else "fp32"
        rate = max(self.shares[one] * device.peak[one] for one in ("fp32", mode))
        units = threads if device.kind == "cpu" else 1
        products = effort.flops / (rate * units)
        moves = effort.moved * BYTES[mode] / (self.shares["bandwidth"] * device.bandwidth * units)
        launches = effort.launches * self.launch[device.kind]
        if device.kind == "cpu":
            return products + moves + launches
        return max(products + moves, launches)


@cache
def load(path: Path = DEVICES) -> Known:
    """The table. Raises SpecError with every problem, one a line."""
    problems: list[str] = []
    place = Place(display(path), problems=problems)
    content = read_toml(path, place) or {}
    parts = ("shares", "overheads", "devices")
    if not problems:
        fields(place, content, {}, required=parts, apart=parts)
    if problems:
        raise SpecError("\n".join(problems))
    shares = fields(place.at("shares"), content["shares"], SHARE_TYPES, required=SHARE_TYPES)
    overheads = fields(
        place.at("overheads"), content["overheads"], OVERHEAD_TYPES, required=OVERHEAD_TYPES
    )
    required = ("title", "names", "kind", "bandwidth", "fp32")
    found = {
        key: fields(place.at("devices").at(key), one, DEVICE_TYPES, required=required)
        for key, one in content["devices"].items()
    }
    if problems:
        raise SpecError("\n".join(problems))
    return Known(
        devices={key: _device(key, one) for key, one in found.items()},
        shares=shares,
        **overheads,
    )


def _device(key: str, one: Mapping[str, Any]) -> Device:
    return Device(
        key=key,
        peak={name: one[name] for name in PRECISIONS if name in one},
        memory=one.get("memory"),
        **{name: one[name] for name in ("title", "names", "kind", "bandwidth")},
    )


@dataclass(frozen=True, kw_only=True)
class Here:
    """The device that a forecast is for. `name` is as the records of its steps have it."""

    name: str
    kind: Kind
    # Of the CPU, whatever the device.
    processor: str
    # Of a step: the tier's, but not more than there are cores.
    threads: int
    cores: int
    # In the table; None for a GPU that is not.
    known: Device | None
    memory: float | None
    # Whether it is only named, and not at hand.
    imagined: bool = False

    @property
    def workers(self) -> int:
        """Steps side by side: as many as the cores have threads for; one on a GPU."""
        return max(1, self.cores // self.threads) if self.kind == "cpu" else 1

    @property
    def title(self) -> str:
        if self.imagined:
            assert self.known is not None
            return self.known.title
        if self.kind == "cuda":
            return self.name
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''} a step"
        return f"{self.processor}, {self.cores} cores, {threads}"

    def lacks(self, precision: str) -> str:
        """Why steps of this precision are not for this CPU; empty if they are, and for a GPU."""
        said = f'precision = "{precision}"'
        if self.kind == "cuda" or self.imagined or precision == "fp32":
            return ""
        if precision == "tf32":
            return f'{said} is for GPUs, and this is a CPU: use "fp32"'
        if has_bf16() or not vectors():  # a machine that does not tell may have them
            return ""
        wide = [flag for flag in vectors().split() if flag.startswith(WIDE)]
        return (
            f"{said}: {self.processor} does not multiply bfloat16 itself (it has "
            f"{' '.join(wide) or 'no such vectors'}, and none of {', '.join(BF16)}) and would "
            f'emulate it: use a tier with precision = "fp32", a GPU, or a processor that does'
        )

    def measured(self, environment: Mapping[str, Any]) -> bool:
        """Whether a step with this environment on record ran on this device, as it would here."""
        name = str(environment.get("device", ""))
        if self.kind == "cuda":
            return name == self.name or (
                self.imagined and self.known is not None and load().gpu(name) == self.known
            )
        return (
            not self.imagined
            and name == "cpu"
            and environment.get("processor") == self.processor
            and environment.get("threads") == self.threads
        )


def here(device: str, threads: int, named: str | None = None) -> Here:
    """The device of `--device`, or the one of `--device-name`, without asking torch.

    Raises ReplicationError for a name that is not in the table, and for a GPU that is not here.
    """
    table = load()
    cores = os.cpu_count() or 1
    fixed: dict[str, Any] = {"processor": processor(), "threads": threads, "cores": cores}
    if named is not None:
        known = table.named(named)
        return Here(
            name=known.title if known.kind == "cuda" else "cpu",
            kind=known.kind, known=known, memory=known.memory, imagined=True, **fixed,
        )  # fmt: skip
    fixed["threads"] = at_most_cores(threads)
    found = gpu() if device in ("auto", "cuda") else None
    if found is not None:
        name, memory = found
        return Here(name=name, kind="cuda", known=table.gpu(name), memory=memory, **fixed)
    if device == "cuda":
        raise ReplicationError(
            f"--device cuda: {unused() or 'nvidia-smi lists no GPU here'}; use --device cpu, or "
            f"--device-name to forecast for a GPU that is not here ({display(DEVICES)} lists them)"
        )
    known = table.core(vectors())
    return Here(name="cpu", kind="cpu", known=known, memory=main_memory(), **fixed)


def gpu() -> tuple[str, float] | None:
    """Name and memory in bytes of the GPU that a run would use: the first that its driver lists,
    or the first of CUDA_VISIBLE_DEVICES. None where there is none.

    Where the driver's own command does not tell, torch is asked if it is loaded anyway.
    """
    if unused():
        return None
    listed = _listed()
    if not listed:
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_available():
            return None
        found = torch.cuda.get_device_properties(0)
        return found.name, float(found.total_memory)
    return _seen()[0][1:]


def unused() -> str:
    """Why a run would use no GPU, were there any; empty where it would."""
    torch = installed("torch")
    if torch.endswith("+cpu"):
        return f"torch {torch} is built for CPUs alone"
    given = os.environ.get(VISIBLE)
    if given is not None and not (_first(given).isdecimal() or _first(given).startswith(IDS)):
        return f'{VISIBLE}="{given}" hides every GPU'
    if _listed() and not _seen():
        return f'{VISIBLE}="{given}" names none of the {len(_listed())} that nvidia-smi lists'
    return ""


def _first(visible: str) -> str:
    return visible.partition(",")[0].strip()


def _seen() -> tuple[tuple[str, str, float], ...]:
    """Of the GPUs that the driver lists, those that CUDA_VISIBLE_DEVICES may name first."""
    given, listed = os.environ.get(VISIBLE), _listed()
    # A part of a GPU has an id of its own, which does not say of which: the driver's first.
    if given is None or _first(given).startswith("MIG-"):
        return listed
    if _first(given).isdecimal():
        return listed[int(_first(given)) :]
    return tuple(one for one in listed if one[0].startswith(_first(given)))


@cache
def _listed() -> tuple[tuple[str, str, float], ...]:
    """Id, name and memory in bytes of the GPUs that the driver's own command lists."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    query = [command, "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
        rows = [line.split(",") for line in text.splitlines()]
        return tuple(
            (uuid.strip(), ",".join(name).strip(), float(megabytes) * 2**20)
            for uuid, *name, megabytes in rows
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def main_memory() -> float | None:
    """The machine's memory in bytes, or what its container is allowed; None if it does not say."""
    try:
        total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return None
    try:
        return min(total, float(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no limit is the word "max"
        return total
