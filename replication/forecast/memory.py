"""Peak memory of a training or a sweep of evaluations, predicted; and what would fit. No torch.

What waits for the backward pass is counted to the byte (`counting`); how much an allocator and the
libraries' workspaces take beside it is a margin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from replication.forecast.counting import FLOAT, classification, segmentation
from replication.forecast.effort import grouped, scaled
from replication.inference import BATCH_PIXELS, images_at_once, passes
from replication.protocol import Evaluation, Network, Pretraining, Stage

# The libraries' code and the driver's context. On a CPU: the process once torch is imported.
BASE = {"cpu": 0.4e9, "cuda": 0.6e9}
# Fragments and workspaces of convolutions, beside what is counted.
MARGIN = {"cpu": 0.05, "cuda": 0.10}
# Beside the layer that runs in an evaluation: its input in the layout that the library works in.
REORDERED = 2
# `data.feed.RESIDENT_SHARE`, of a GPU's free memory: taken to be all that it has.
RESIDENT_SHARE = 0.25
# The upsampled logits, and the gradient of their log-probabilities, beside these themselves.
LOGITS = 2


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at the peak."""

    # Parameters, running statistics, gradients, momentum, older weights of replicas.
    weights: float
    activations: float
    logits: float
    base: float
    margin: float
    # A GPU holds the decoded set where it has room for it: see `data.feed`.
    pictures: float = 0.0
    # Of weights, activations and logits together, where a probe measured their peak.
    measured: float | None = None

    @property
    def total(self) -> float:
        counted = (self.weights + self.activations + self.logits) * (1 + self.margin)
        tensors = counted if self.measured is None else self.measured
        return tensors + self.pictures + self.base

    @property
    def rests_on(self) -> str:
        """The basis: "counted" or "probe"."""
        return "counted" if self.measured is None else "probe"


def resident(pixels: float, kind: str, available: float | None) -> float:
    """Bytes of the decoded set that a training keeps on its device."""
    size = 4 * pixels
    return size if kind == "cuda" and available and size <= RESIDENT_SHARE * available else 0.0


def of_training(
    config: Mapping[str, Any], classes: int, kind: str, pictures: float = 0.0
) -> Memory:
    """At the beginning of the backward pass, from the configuration of the training's step."""
    network = Network.model_validate(config["network"])
    if "pretraining" in config:
        one = Pretraining.model_validate(config["pretraining"])
        counted = classification(
            network, classes, one.output_stride, one.crop_size, one.multi_grids[0]
        )
        crop, images, precision, replicas = one.crop_size, one.batch_size, one.precision, 1
        logits, kept = classes, counted.kept(images)
    else:
        stage = Stage.model_validate(config["stage"])
        crop, precision, replicas = stage.crop_size, stage.precision, stage.replicas
        images = stage.batch_size // stage.accumulate
        counted = segmentation(network, classes, stage.output_stride, crop, crop)
        logits = classes * crop * crop if stage.upsample_logits else counted.scores
        kept = counted.kept(images)
    half = 0.5 if precision == "bf16" else 1.0
    # Gradients and momentum; in bf16 each weight has a copy of half the size.
    copies = 2 + (0.5 if precision == "bf16" else 0) + (replicas if replicas > 1 else 0)
    # Log-probabilities and labels are kept in single precision and 8 bytes.
    labels = 8 * crop * crop if "stage" in config else 8
    return Memory(
        weights=counted.state_bytes + copies * FLOAT * counted.parameters,
        activations=half * kept,
        logits=images * ((1 + LOGITS) * FLOAT * logits + labels),
        base=BASE[kind],
        margin=MARGIN[kind],
        pictures=pictures,
    )


def of_sweep(
    configs: Sequence[Mapping[str, Any]],
    classes: int,
    sizes: Mapping[tuple[int, int], int],
    kind: str,
) -> Memory:
    """The largest pass over the largest pictures, beside the strategies' sums.

    The network is there twice: as it was trained, and folded (`network.folding`).
    """
    network = Network.model_validate(configs[0]["network"])
    strategies = [Evaluation.model_validate(config["evaluation"]) for config in configs]
    activations, logits, weights = 0.0, 0.0, 0.0
    for size, (count, seen) in grouped(network, strategies[0], sizes).items():
        images = min(count, images_at_once(size, seen, BATCH_PIXELS[kind]))
        trained = segmentation(network, classes, strategies[0].output_stride, *seen)
        for output_stride, scale, _ in passes(strategies):
            counted = scaled(network, classes, output_stride, seen, scale)
            weights = trained.state_bytes + counted.state_bytes
            activations = max(activations, images * REORDERED * counted.alive)
        # A sum for each strategy; logits, probabilities and the new sum of the pass.
        full = images * FLOAT * classes * prod(size)
        logits = max(logits, (len(strategies) + 3) * full)
    half = 0.5 if strategies[0].precision == "bf16" else 1.0
    return Memory(
        weights=weights,
        activations=half * activations,
        logits=logits,
        base=BASE[kind],
        margin=MARGIN[kind],
    )


def fitting_batch(
    config: Mapping[str, Any], classes: int, kind: str, available: float
) -> int | None:
    """The largest batch below the training's that is predicted to fit; None where not even two."""
    key = "pretraining" if "pretraining" in config else "stage"
    batch = config[key]["batch_size"]
    for images in range(batch - 1, 1, -1):
        if _fits(config, {"batch_size": images, "accumulate": 1}, classes, kind, available):
            return images
    return None


def fitting_crop(
    config: Mapping[str, Any], classes: int, kind: str, available: float
) -> int | None:
    """The largest crop of k * 8 + 1 pixels that is predicted to fit with the training's batch."""
    key = "pretraining" if "pretraining" in config else "stage"
    crop = config[key]["crop_size"]
    for side in range((crop - 2) // 8 * 8 + 1, 16, -8):
        if _fits(config, {"crop_size": side}, classes, kind, available):
            return side
    return None


def fitting_parts(
    config: Mapping[str, Any], classes: int, kind: str, available: float
) -> int | None:
    """The fewest equal parts, of two pictures or more, in which the batch is predicted to fit."""
    stage = config.get("stage")
    if stage is None:
        return None
    batch = stage["batch_size"]
    for parts in range(stage.get("accumulate", 1) + 1, batch // 2 + 1):
        if batch % parts == 0 and _fits(config, {"accumulate": parts}, classes, kind, available):
            return parts
    return None


def _fits(
    config: Mapping[str, Any], changed: Mapping[str, int], classes: int, kind: str, most: float
) -> bool:
    key = "pretraining" if "pretraining" in config else "stage"
    known = {n: v for n, v in changed.items() if key == "stage" or n != "accumulate"}
    one = {**config, key: {**config[key], **known}}
    return of_training(one, classes, kind).total <= most


def gigabytes(size: float) -> str:
    """A size to two digits: "13 GB", "0.45 GB"."""
    amount = size / 1e9
    return f"{amount:.0f} GB" if amount >= 9.95 else f"{amount:.2g} GB"


def what_would_fit(
    config: Mapping[str, Any],
    classes: int,
    kind: str,
    available: float | None,
    measured: float | None = None,
) -> str:
    """For a training that does not fit: what it needs, and what would fit instead.

    Where it was `measured` to need more or less than is counted, so do smaller ones, in proportion.
    """
    key = "pretraining" if "pretraining" in config else "stage"
    batch, crop = config[key]["batch_size"], config[key]["crop_size"]
    counted = of_training(config, classes, kind).total
    needed = measured or counted
    needs = f"needs about {gigabytes(needed)}"
    if available is None:
        return f"at batch {batch}, crop {crop} ({needs})"
    text = f"at batch {batch}, crop {crop} ({needs}, the device has {gigabytes(available)})"
    if needed <= available:
        return f"{text}: it should have fitted; something else may be using the memory"
    base = BASE[kind]
    available = base + (available - base) * (counted - base) / (needed - base)
    would = []
    if images := fitting_batch(config, classes, kind, available):
        would.append(f"a batch of {images}")
    if side := fitting_crop(config, classes, kind, available):
        would.append(f"a crop of {side}")
    if parts := fitting_parts(config, classes, kind, available):
        would.append(f"accumulate = {parts}")
    if not would:
        return f"{text}: no batch, crop or accumulation would fit"
    *others, last = would
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"{text}: {listed} would fit; none is chosen by itself: each changes the result"
