"""The effort of a job: FLOPs, bytes and operations of all its iterations or pictures. No torch.

What a step is made of is in its configuration, but for two facts of its data: how many classes
they have and how large the pictures are (`pictures`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from replication.forecast.counting import FLOAT, Pass, classification, evaluated, segmentation
from replication.inference import (
    BATCH_PIXELS,
    images_at_once,
    padded_size,
    passes,
    scaled_size,
)
from replication.protocol import Evaluation, Network, Pretraining, Stage

# Bytes read and written for each pixel of a crop: gathering, grid, interpolation, masks.
AUGMENTING = 200
# SGD with momentum reads weight, gradient and momentum, writes weight and momentum.
OPTIMISER = 5 * FLOAT
# Of one element of the upsampled logits in training, forward and backward: interpolation, log
# softmax and the gradient of both.
LOSS = (5 * FLOAT, 8 * FLOAT)
# Of one element of a pass's upsampled logits in an evaluation: interpolation, softmax, the sum
# over passes; and of the largest class of the sum.
SCORING, CHOOSING = 7 * FLOAT, FLOAT
# In the place of what only the data say, where a rough weight will do: VOC's classes, and pictures
# of an evaluation split.
TYPICAL_CLASSES = 21
TYPICAL_IMAGES = 300
# FLOPs that a CPU core makes while it moves a byte (devices.toml); a GPU makes fewer or more, which
# changes weights little.
FLOPS_A_BYTE = 20.0


@dataclass(frozen=True, kw_only=True)
class Effort:
    """FLOPs of convolutions and products, bytes moved, and operations started one by one."""

    flops: float = 0.0
    # Bytes of all but convolutions, whose own traffic is part of the share of a peak that they
    # are taken to reach; and that of convolutions.
    moved: float = 0.0
    convolved: float = 0.0
    launches: float = 0.0
    # Iterations, or pictures of an evaluation.
    units: int = 0

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(
            flops=self.flops + other.flops,
            moved=self.moved + other.moved,
            convolved=self.convolved + other.convolved,
            launches=self.launches + other.launches,
            units=self.units + other.units,
        )

    def times(self, factor: float, units: int) -> "Effort":
        return Effort(
            flops=factor * self.flops,
            moved=factor * self.moved,
            convolved=factor * self.convolved,
            launches=factor * self.launches,
            units=units,
        )


def iteration(config: Mapping[str, Any], classes: int) -> Effort:
    """One iteration of a training or pretraining, from its step's configuration."""
    network = Network.model_validate(config["network"])
    if "pretraining" in config:
        pretraining = Pretraining.model_validate(config["pretraining"])
        # The grids drawn differ in rates only, which cost the same.
        counted = classification(
            network, classes, pretraining.output_stride, pretraining.crop_size,
            pretraining.multi_grids[0],
        )  # fmt: skip
        crop, batch, frozen, logits = pretraining.crop_size, pretraining.batch_size, False, classes
        parts = 1
    else:
        stage = Stage.model_validate(config["stage"])
        crop, batch, frozen = stage.crop_size, stage.batch_size, stage.batch_norm == "frozen"
        parts = stage.accumulate
        counted = segmentation(network, classes, stage.output_stride, crop, crop)
        logits = classes * crop * crop if stage.upsample_logits else counted.scores
    convolved, moved = counted.moved(backward=True, frozen=frozen)
    moved += sum(LOSS) * logits + AUGMENTING * crop * crop
    # Every operation has a gradient, a convolution two; each part of the batch starts them anew.
    launches = 3 * counted.launches * parts
    return Effort(
        flops=batch * counted.training_flops,
        moved=batch * moved + OPTIMISER * counted.parameters,
        convolved=batch * convolved,
        launches=launches,
        units=1,
    )


def training(config: Mapping[str, Any], classes: int) -> Effort:
    """A whole training or pretraining."""
    iterations = (config.get("stage") or config["pretraining"])["iterations"]
    return iteration(config, classes).times(iterations, iterations)


def sweep(
    configs: Sequence[Mapping[str, Any]],
    classes: int,
    sizes: Mapping[tuple[int, int], int],
    batch_pixels: int,
) -> Effort:
    """Evaluations of one network that share their passes, over pictures of these sizes.

    `sizes` counts the set's pictures by height and width.
    """
    network = Network.model_validate(configs[0]["network"])
    strategies = [Evaluation.model_validate(config["evaluation"]) for config in configs]
    total = Effort()
    for size, (count, seen) in grouped(network, strategies[0], sizes).items():
        one = _picture(network, strategies, classes, size, seen)
        batches = -(-count // images_at_once(size, seen, batch_pixels))
        total += Effort(
            flops=count * one.flops,
            moved=count * one.moved,
            convolved=count * one.convolved,
            launches=batches * one.launches,
            units=count,
        )
    return total


def grouped(
    network: Network, strategy: Evaluation, sizes: Mapping[tuple[int, int], int]
) -> dict[tuple[int, int], tuple[int, tuple[int, int]]]:
    """Pictures as they are evaluated together: by the size of their predictions, how many, and
    the size that the network sees at scale 1.
    """
    crop, groups = strategy.crop_size, dict[tuple[int, int], tuple[int, tuple[int, int]]]()
    for size, count in sizes.items():
        if strategy.whole_image == "resized":
            seen = (crop, crop)
        else:
            size = seen = padded_size(*size, crop, 8 * network.stem_stride)
        groups[size] = (groups.get(size, (0, seen))[0] + count, seen)
    return groups


def scaled(
    network: Network, classes: int, output_stride: int, seen: tuple[int, int], scale: float
) -> Pass:
    """One pass of an evaluation over a picture of this size at a scale."""
    height, width = (scaled_size(side, scale) for side in seen)
    return evaluated(network, classes, output_stride, height, width)


def _picture(
    network: Network,
    strategies: Sequence[Evaluation],
    classes: int,
    size: tuple[int, int],
    seen: tuple[int, int],
) -> Effort:
    """All passes over one picture, and the strategies' choices."""
    full, flops, moved, convolved, launches = classes * prod(size), 0, 0.0, 0.0, 0
    for output_stride, scale, _ in passes(strategies):
        counted = scaled(network, classes, output_stride, seen, scale)
        by_convolutions, by_others = counted.moved(backward=False)
        flops += counted.forward_flops
        moved += by_others + SCORING * full
        convolved += by_convolutions
        launches += counted.launches
    moved += len(strategies) * CHOOSING * full
    return Effort(flops=flops, moved=moved, convolved=convolved, launches=launches, units=1)


def weight(configs: Sequence[Mapping[str, Any]]) -> float:
    """A job's rough cost in arbitrary units, from its steps' configurations alone."""
    if "evaluation" in configs[0]:
        crop = configs[0]["evaluation"]["crop_size"]
        sizes = {(crop, crop): TYPICAL_IMAGES}
        effort = sweep(configs, TYPICAL_CLASSES, sizes, BATCH_PIXELS["cpu"])
    else:
        effort = training(configs[0], TYPICAL_CLASSES)
    return effort.flops + FLOPS_A_BYTE * effort.moved
