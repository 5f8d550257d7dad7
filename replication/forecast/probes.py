"""Probes: the time of one iteration or of a few pictures of a shape, measured once on a device.

A shape is all of a job that its speed depends on; steps that differ in seed, data or learning rate
share it. Measurements are kept in the data cache, `probes.json`; this module reads, names and
writes them, `probing` makes them with torch.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from replication.data.sources import cache_folder
from replication.environment import installed
from replication.errors import RunError
from replication.files import write_atomically
from replication.forecast.devices import Here
from replication.forecast.effort import Effort, grouped, iteration, sweep
from replication.forecast.pictures import Size, Split
from replication.inference import BATCH_PIXELS, images_at_once
from replication.protocol import Evaluation, Network, Pretraining, Stage
from replication.runs import version

# Raised whenever a probe measures something else.
FORMAT = 3
# What decides weights, not time: which rates a convolution has (within 5 % on a CPU), what is
# drawn, and constants.
NETWORK = (
    "last_block", "head", "image_pooling", "dropout", "stride_unit", "units", "widths",
    "stem_width", "stem_stride", "head_width",
)  # fmt: skip
STAGE = (
    "output_stride", "crop_size", "batch_size", "batch_norm", "frozen_bn", "upsample_logits",
    "accumulate", "precision", "deterministic",
)  # fmt: skip
PRETRAINING = ("output_stride", "crop_size", "batch_size", "precision", "deterministic")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One thing to measure: a job's configurations, on generated pictures of one size."""

    # Of the first step that has the shape; an evaluation's has all its sweep's.
    configs: tuple[Mapping[str, Any], ...]
    classes: int
    picture: Size
    # Pictures of a probe of an evaluation: one batch.
    pictures: int
    device: str
    kind: str
    threads: int

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a measurement to hold."""
        first = self.configs[0]
        network = Network.whole(first["network"])
        one: dict[str, Any] = {
            **{name: network[name] for name in NETWORK},
            "rates": len(network["atrous_rates"]),
        }
        if "evaluation" in first:
            strategies = [Evaluation.whole(config["evaluation"]) for config in self.configs]
            one["passes"] = sorted(
                json.dumps([s["output_stride"], s["scales"], s["flip"]]) for s in strategies
            )
            names: tuple[str, ...] = ("crop_size", "whole_image", "precision", "deterministic")
            protocol = strategies[0]
        elif "stage" in first:
            protocol, names = Stage.whole(first["stage"]), STAGE
            one["replicas"] = protocol["replicas"] > 1
        else:
            protocol, names = Pretraining.whole(first["pretraining"]), PRETRAINING
        return {
            "format": FORMAT,
            # Code that computes otherwise takes another time.
            "version": version(first),
            **one,
            **{name: protocol[name] for name in names},
            "classes": self.classes,
            "picture": self.picture,
            "device": self.device,
            "threads": self.threads,
            "torch": installed("torch"),
        }

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def effort(self) -> Effort:
        """Of one iteration, or of the pictures of a probe."""
        if "evaluation" in self.configs[0]:
            sizes = {self.picture: self.pictures}
            return sweep(self.configs, self.classes, sizes, BATCH_PIXELS[self.kind])
        return iteration(self.configs[0], self.classes)

    @property
    def label(self) -> str:
        """For people: "train resnet50 block7, crop 65, batch 16, output stride 8"."""
        first = self.configs[0]
        network = first["network"]
        what = f"{network['backbone']} block{network['last_block']}"
        if "evaluation" in first:
            strides = sorted({config["evaluation"]["output_stride"] for config in self.configs})
            listed = " and ".join(map(str, strides))
            return f"evaluate {what}, crop {first['evaluation']['crop_size']}, stride {listed}"
        kind = "train" if "stage" in first else "pretrain"
        one = first.get("stage") or first["pretraining"]
        return (
            f"{kind} {what}, crop {one['crop_size']}, batch {one['batch_size']}, "
            f"stride {one['output_stride']}"
        )


def shape(configs: Sequence[Mapping[str, Any]], split: Split, here: Here) -> Shape:
    """The shape of a job on a split, on the device that is here."""
    picture = max(split.sizes, key=lambda size: split.sizes[size])
    pictures = 0
    if "evaluation" in configs[0]:
        network = Network.model_validate(configs[0]["network"])
        strategy = Evaluation.model_validate(configs[0]["evaluation"])
        groups = grouped(network, strategy, split.sizes)
        size, (count, seen) = max(groups.items(), key=lambda item: item[1][0])
        pictures = min(count, images_at_once(size, seen, BATCH_PIXELS[here.kind]))
        if strategy.whole_image == "padded":
            # Padded to the same, they take the same time.
            picture = size
    return Shape(
        configs=tuple(configs),
        classes=split.classes,
        picture=picture,
        pictures=pictures,
        device=here.name if here.kind == "cuda" else here.processor,
        kind=here.kind,
        threads=here.threads,
    )


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One measurement: seconds of an iteration, or of the pictures of an evaluation's probe."""

    seconds: float
    # Counted, of what was measured.
    flops: float
    # Peak of its tensors in bytes, where the device tells it; a CPU does not.
    memory: float | None = None


class Probes:
    """The measurements kept in a file."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or cache_folder() / "probes.json"
        self._content = self._read()

    def of(self, wanted: Shape, workers: int) -> tuple[Probe, int] | None:
        """The measurement with that many processes side by side, or the nearest number of them;
        and that number: a process is slowed by the others, so that another number's is a hint.
        """
        kept = self._content.get(wanted.key, {}).get("probes", {})
        if not kept:
            return None
        nearest = min(kept, key=lambda number: abs(int(number) - workers))
        return Probe(**kept[nearest]), int(nearest)

    def keep(self, measured: Shape, probe: Probe, workers: int) -> None:
        """Add a measurement, made with that many processes side by side."""
        self._content = self._read()  # another process may have added to it
        new = {"shape": measured.identity, "label": measured.label, "probes": {}}
        entry = self._content.setdefault(measured.key, new)
        entry["probes"][str(workers)] = asdict(probe)
        write_atomically(self.file, json.dumps(self._content, indent=1) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self.file.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunError(f"{self.file}: damaged ({error}); delete it to measure anew") from None
        return content
