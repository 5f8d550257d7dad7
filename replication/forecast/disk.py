"""What the unfinished steps write, and what their data take in the cache. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication.forecast.counting import FLOAT, Pass, classification, segmentation
from replication.forecast.pictures import Splits
from replication.protocol import Network, Pretraining, Stage
from replication.runs import Step

# Of a tensor's entry in a file's header, a log's line, an image's id, and a step's small files.
HEADER, LINE, ID, SMALL = 110, 145, 14, 8_000
# Iterations between two lines of a log.
LOGGED = 10


@dataclass(frozen=True, kw_only=True)
class Written:
    """Bytes of one step."""

    weights: float = 0.0
    counts: float = 0.0
    # Configuration, log, list of images.
    records: float = 0.0
    # While a training is under way; deleted when it ends.
    checkpoint: float = 0.0

    @property
    def results(self) -> float:
        """What stays in the results folder."""
        return self.weights + self.counts + self.records


@dataclass(frozen=True, kw_only=True)
class Disk(Written):
    """Bytes of many steps; the checkpoint is the largest, for each training under way."""

    # Decoded pictures, if they are kept, whether or not they are there already.
    cache: float
    folder: Path


def of(todo: Mapping[str, Step], splits: Splits, folder: Path) -> Disk:
    """Disk that these steps take, by id; `folder` is that of the data cache."""
    written = [of_step(step, splits) for step in todo.values()]
    read: dict[tuple[str, str], float] = {}
    for step in todo.values():
        data = step.config["data"]
        split = splits.of(data["role"], data["split"])
        # A classification set has no masks.
        read[data["role"], data["split"]] = split.pixels * (3 if data["role"] == "imagenet" else 4)
    return Disk(
        weights=sum(one.weights for one in written),
        counts=sum(one.counts for one in written),
        records=sum(one.records for one in written),
        checkpoint=max((one.checkpoint for one in written), default=0.0),
        cache=sum(read.values()) if splits.sources.cached else 0.0,
        folder=folder,
    )


def of_step(step: Step, splits: Splits) -> Written:
    """Disk that a step takes; an evaluation's is its own, whatever sweep it is made in."""
    data = step.config["data"]
    split = splits.of(data["role"], data["split"])
    if step.kind == "evaluate":
        return Written(counts=split.count * split.classes**2 * 4, records=SMALL + split.count * ID)
    counted, replicas, iterations = _network(step.config, split.classes)
    # A convolution has one tensor, a batch norm five.
    tensors = sum(4 * one.counters + bool(one.parameters) for one in counted.layers)
    saved = counted.state_bytes + HEADER * tensors
    copies = 1 + (replicas if replicas > 1 else 0)
    return Written(
        weights=saved,
        records=SMALL + iterations / LOGGED * LINE + split.count * ID * (step.kind == "train"),
        checkpoint=saved + copies * FLOAT * counted.parameters,
    )


def _network(config: Mapping[str, Any], classes: int) -> tuple[Pass, int, int]:
    network = Network.model_validate(config["network"])
    if "pretraining" in config:
        one = Pretraining.model_validate(config["pretraining"])
        counted = classification(
            network, classes, one.output_stride, one.crop_size, one.multi_grids[0]
        )
        return counted, 1, one.iterations
    stage = Stage.model_validate(config["stage"])
    counted = segmentation(network, classes, stage.output_stride, stage.crop_size, stage.crop_size)
    return counted, stage.replicas, stage.iterations
