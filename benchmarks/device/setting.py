"""What is measured on, and at which size: the paper's, or one that a CPU does in seconds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from benchmarks.networks import CLASSES, UNITS, Row, table6, tier
from replication.data.cache import Decoded
from replication.protocol import Evaluation, Network, Precision, Stage

Name = TypeVar("Name", bound=str)

QUICK_UNITS = (1, 1, 1, 3)
REPETITIONS = 5


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The device, the sizes, and the time there is."""

    device: torch.device
    quick: bool
    # time.monotonic() at which everything is to be over.
    deadline: float
    row: Row
    # What was left out, and why: one line each.
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, device: str, *, quick: bool, budget: float) -> "Setting":
        deadline = time.monotonic() + budget
        row = table6("os8-ms-flip", tier("smoke" if quick else "paper"))
        return cls(device=torch.device(device), quick=quick, deadline=deadline, row=row)

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def crop(self) -> int:
        return 33 if self.quick else 513

    @property
    def batch(self) -> int:
        return 2 if self.quick else 16

    @property
    def repetitions(self) -> int:
        return 2 if self.quick else REPETITIONS

    @property
    def shapes(self) -> tuple[tuple[str, int], ...]:
        """Backbones and output strides, the most telling first."""
        if self.quick:
            return (("resnet50", 16),)
        return (("resnet101", 16), ("resnet50", 16), ("resnet101", 8), ("resnet50", 8))

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return ("bf16", "fp32", "tf32") if self.device.type == "cuda" else ("bf16", "fp32")

    def network(self, backbone: str) -> Network:
        """Table 6's: ASPP (6, 12, 18), image pooling, multi-grid (1, 2, 4)."""
        units = QUICK_UNITS if self.quick else UNITS[backbone]
        return self.row.network.model_copy(update={"backbone": backbone, "units": units})

    def stage(self, output_stride: int) -> Stage:
        """Table 6's training at an output stride; its rate is too small to lead anywhere."""
        changed = {"output_stride": output_stride, "learning_rate": 1e-6}
        return self.row.stage.model_copy(
            update={**changed, "crop_size": self.crop, "batch_size": self.batch}
        )

    def evaluation(self) -> Evaluation:
        """Table 6's: output stride 8, six scales, flips."""
        return self.row.evaluation.model_copy(update={"crop_size": self.crop})

    def pictures(self, count: int) -> Decoded:
        """Noise in VOC's two usual sizes, void around the edges."""
        long, short = (33, 25) if self.quick else (500, 375)
        sizes = [(short, long) if i % 2 == 0 else (long, short) for i in range(count)]
        random = np.random.default_rng(0)
        masks = []
        for size in sizes:
            mask = np.full(size, 255, np.uint8)
            mask[2:-2, 2:-2] = random.integers(0, CLASSES, (size[0] - 4, size[1] - 4))
            masks.append(mask.ravel())
        pixels = [h * w for h, w in sizes]
        return Decoded(
            split="train",
            ids=tuple(map(str, range(count))),
            classes=tuple(f"class {i}" for i in range(CLASSES)),
            sizes=np.array(sizes, dtype=np.int64),
            offsets=np.cumsum([0, *pixels[:-1]]),
            pixels=random.integers(0, 256, (sum(pixels), 3), dtype=np.uint8),
            labels=np.concatenate(masks),
        )

    def skip(self, what: str, why: str) -> None:
        self.skipped.append(f"{what}: {why}")


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rotated(names: Sequence[Name], by: int) -> list[Name]:
    """None is always first: what comes first finds another cache and clock than what follows."""
    by %= len(names)
    return [*names[by:], *names[:by]]
