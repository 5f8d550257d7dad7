"""What the unfinished steps write, and what their data take in the cache. No torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication.forecast.counting import FLOAT, Pass, classification, segmentation
from replication.forecast.pictures import Splits
from replication.plan import Plan
from replication.protocol import Network, Pretraining, Stage
from replication.runs import Step

# Of a tensor's entry in a file's header, a log's line, an image's id, and a step's small files.
HEADER, LINE, ID, SMALL = 110, 145, 14, 8_000
# Iterations between two lines of a log.
LOGGED = 10


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes."""

    weights: float
    counts: float
    # Configurations, logs, lists of images.
    records: float
    # Of the largest checkpoint, for each training under way; deleted when it ends.
    checkpoint: float
    # Decoded pictures, if they are kept, whether or not they are there already.
    cache: float
    folder: Path

    @property
    def results(self) -> float:
        """What stays in the results folder."""
        return self.weights + self.counts + self.records


def of(plan: Plan, todo: Iterable[Step], splits: Splits, folder: Path) -> Disk:
    """Disk that these steps of the plan take; `folder` is that of the data cache."""
    weights, counts, records, checkpoint = 0.0, 0.0, 0.0, 0.0
    read: dict[tuple[str, str], float] = {}
    for step in todo:
        data = step.config["data"]
        split = splits.of(data["role"], data["split"])
        # A classification set has no masks.
        read[data["role"], data["split"]] = split.pixels * (3 if data["role"] == "imagenet" else 4)
        records += SMALL
        if step.kind == "evaluate":
            counts += split.count * split.classes**2 * 4
            records += split.count * ID
            continue
        counted, replicas, iterations = _network(step.config, split.classes)
        # A convolution has one tensor, a batch norm five.
        tensors = sum(4 * one.counters + bool(one.parameters) for one in counted.layers)
        saved = counted.state_bytes + HEADER * tensors
        weights += saved
        records += iterations / LOGGED * LINE + split.count * ID * (step.kind == "train")
        copies = 1 + (replicas if replicas > 1 else 0)
        checkpoint = max(checkpoint, saved + copies * FLOAT * counted.parameters)
    return Disk(
        weights=weights,
        counts=counts,
        records=records,
        checkpoint=checkpoint,
        cache=sum(read.values()) if splits.sources.cached else 0.0,
        folder=folder,
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
