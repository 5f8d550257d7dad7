"""Training: one loop for pretraining and segmentation, resumable to the bit on the CPU."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.arithmetic import arithmetic, moved, products
from replication.checkpoints import pack, read_tensors, unpack, write_tensors
from replication.data.batches import draw, order
from replication.data.cache import Labelled, Pictures
from replication.data.crops import augment
from replication.data.feed import Feed
from replication.data.layouts import IGNORE_INDEX
from replication.errors import Diverged
from replication.network.aspp import upsample
from replication.network.deeplab import Classifier, DeepLabV3
from replication.protocol import LabelGrid, Pretraining, Stage
from replication.schedule import poly

LOG_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where a training stands, for the log and the progress bar."""

    iteration: int
    iterations: int
    loss: float
    learning_rate: float
    images_per_second: float


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    upsample_logits: bool,
    align_corners: bool,
    label_grid: LabelGrid,
    normalisation: str,
    whole: Tensor | None = None,
) -> Tensor:
    """Cross entropy of coarse logits (N, C, h, w) against labels (N, H, W) with 255 void.

    The logits are upsampled to the labels; or, with upsample_logits=False, the labels are
    subsampled to the logits on a `label_grid` (Table 8's "UL" off). Divided by the number of valid
    pixels, or with normalisation="all" by the number of all pixels; where these are a part of a
    batch, by that of the `whole` batch's labels, so that the parts' losses add up to its loss.
    """
    counted = labels if whole is None else whole
    if upsample_logits:
        height, width = labels.shape[1:]
        logits = upsample(logits, (height, width), align_corners=align_corners)
    else:
        height, width = logits.shape[2:]
        labels = nearest_labels(labels, height, width, label_grid)
        counted = nearest_labels(counted, height, width, label_grid)
    # A GPU adds up in any order inside the loss, and in one order outside of it.
    outside = logits.is_cuda and torch.are_deterministic_algorithms_enabled()
    reduction = "none" if outside else "sum"
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction=reduction).sum()
    if normalisation == "all":
        return total / counted.numel()
    return total / (counted != IGNORE_INDEX).sum().clamp(min=1)


def nearest_labels(labels: Tensor, height: int, width: int, grid: LabelGrid) -> Tensor:
    """The labels (N, height, width) that logits of this size are compared with.

    "corners": at the pixels that a grid with aligned corners stands on, TF's choice; "floor": at
    pixel floor(i * in / out), what nearest interpolation means to PyTorch.
    """

    def pixels(size: int, count: int) -> Tensor:
        if grid == "floor":
            return torch.arange(count, device=labels.device) * size // count
        return torch.linspace(0, size - 1, count, device=labels.device).round().long()

    rows, columns = pixels(labels.shape[1], height), pixels(labels.shape[2], width)
    return labels[:, rows[:, None], columns[None, :]]


def set_batch_norm(
    model: nn.Module, *, decay: float, frozen: bool, gains_too: bool, fresh: Sequence[str] = ()
) -> list[str]:
    """Put the model in training mode with BN at `decay`, or frozen; returns the frozen layers.

    A frozen layer keeps its running statistics and normalises with them; with `gains_too` its
    gamma and beta are not trained either. Layers in `fresh` have no statistics from an earlier
    stage and are always trained: freezing them would leave a new head without normalisation.
    """
    model.train()
    frozen_layers = []
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.BatchNorm2d):
            continue
        layer.momentum = 1.0 - decay
        if frozen and name not in fresh:
            layer.eval()
            frozen_layers.append(name)
            if gains_too:
                layer.requires_grad_(False)
    return frozen_layers


def sgd(
    model: nn.Module, *, momentum: float, weight_decay: float, head_factor: float = 1.0
) -> torch.optim.SGD:
    """SGD whose weight decay acts on convolutions and matrices, not on BN or biases."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (parameter.ndim > 1, not name.startswith("backbone."))
            groups.setdefault(key, []).append(parameter)
    return torch.optim.SGD(
        [
            {
                "params": parameters,
                "weight_decay": weight_decay if decays else 0.0,
                "factor": head_factor if head else 1.0,
            }
            for (decays, head), parameters in groups.items()
        ],
        lr=0.0,
        momentum=momentum,
        fused=True,
    )


def train(
    model: DeepLabV3,
    stage: Stage,
    data: Pictures,
    *,
    seed: int,
    folder: Path,
    report: Callable[[Report], None],
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 60.0,
    fresh: Sequence[str] = (),
) -> None:
    """Run one stage on `model` in place, resuming from `folder`'s checkpoint if it is there.

    Raises Diverged for a loss that is not finite, and KeyboardInterrupt, with a fresh checkpoint
    written, once `should_stop` says so.
    """
    device = next(model.parameters()).device
    set_batch_norm(
        model,
        decay=stage.bn_decay,
        frozen=stage.batch_norm == "frozen",
        gains_too=stage.frozen_bn == "all",
        fresh=fresh,
    )
    optimizer = sgd(
        model,
        momentum=stage.momentum,
        weight_decay=stage.weight_decay,
        head_factor=stage.head_learning_rate_factor,
    )
    dropped = torch.Generator(device)

    def losses_at(iteration: int) -> Iterator[Tensor]:
        x, labels = feed(iteration)
        dropped.manual_seed(seed * 1_000_003 + iteration)
        parts = zip(x.chunk(stage.accumulate), labels.chunk(stage.accumulate), strict=True)
        for part, its_labels in parts:
            with products(device, stage.precision):
                logits = model.coarse_logits(part, dropped)
            yield segmentation_loss(
                logits,
                its_labels,
                upsample_logits=stage.upsample_logits,
                align_corners=model.network.align_corners,
                label_grid=stage.label_grid,
                normalisation=stage.loss_normalisation,
                whole=labels if stage.accumulate > 1 else None,
            )

    with (
        _arithmetic(device, stage),
        Feed(data, stage, seed=seed, device=device) as feed,
    ):
        _loop(
            model,
            optimizer,
            stage,
            losses_at,
            folder,
            report,
            should_stop,
            checkpoint_seconds,
            stage.replicas,
        )


def pretrain(
    model: Classifier,
    protocol: Pretraining,
    data: Labelled,
    *,
    seed: int,
    folder: Path,
    report: Callable[[Report], None],
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 60.0,
) -> None:
    """Train the backbone as a classifier; each iteration draws one of `protocol.multi_grids`."""
    device = next(model.parameters()).device
    set_batch_norm(model, decay=protocol.bn_decay, frozen=False, gains_too=False)
    labels = torch.from_numpy(data.labels)
    images = torch.from_numpy(np.array(data.images))
    nowhere = torch.zeros(protocol.batch_size, *images.shape[1:3], dtype=torch.uint8, device=device)
    sizes = torch.tensor([images.shape[1:3]] * protocol.batch_size)

    def losses_at(iteration: int) -> Iterator[Tensor]:
        batch = torch.from_numpy(order(len(labels), protocol.batch_size, iteration, seed))
        draws = draw(protocol.batch_size, (0.75, 1.25), 0.0, True, iteration=iteration, seed=seed)
        x, _ = augment(moved(images[batch], device), nowhere, sizes, draws, protocol.crop_size)
        choice = draw(1, (0.0, 1.0), 0.0, False, iteration=iteration, seed=seed + 1).scales[0]
        grid = protocol.multi_grids[int(choice * len(protocol.multi_grids))]
        model.backbone.set_output_stride(protocol.output_stride, grid)
        with products(device, protocol.precision):
            scores = model(x)
        yield F.cross_entropy(scores, moved(labels[batch], device))

    optimizer = sgd(model, momentum=protocol.momentum, weight_decay=protocol.weight_decay)
    with _arithmetic(device, protocol):
        _loop(
            model, optimizer, protocol, losses_at, folder, report, should_stop,
            checkpoint_seconds, 1,
        )  # fmt: skip


def _arithmetic(
    device: torch.device, protocol: Stage | Pretraining
) -> AbstractContextManager[None]:
    return arithmetic(
        device, protocol.precision, deterministic=protocol.deterministic, one_size=True
    )


def _loop(
    model: nn.Module,
    optimizer: torch.optim.SGD,
    protocol: Stage | Pretraining,
    losses_at: Callable[[int], Iterable[Tensor]],
    folder: Path,
    report: Callable[[Report], None],
    should_stop: Callable[[], bool],
    checkpoint_seconds: float,
    replicas: int,
) -> None:
    """The training loop. `losses_at` gives the parts of an iteration's loss, one at a time.

    With several replicas, replica `iteration % replicas` computes its gradient on the weights it
    fetched `replicas - 1` updates ago, and the update is applied to the newest: asynchronous
    training with replicas of equal speed, in one process and deterministic.
    """
    checkpoint = folder / "checkpoint.safetensors"
    history: list[dict[str, Tensor]] = []  # newest weights last; at most `replicas` of them
    start = 0
    if checkpoint.exists():
        tensors, facts = read_tensors(checkpoint)
        history, start = unpack(tensors, model, optimizer), facts["iteration"]
    losses: list[Tensor] = []
    saved = logged = time.monotonic()
    for iteration in range(start, protocol.iterations):
        rate = poly(protocol.learning_rate, iteration, protocol.iterations, protocol.power)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        if replicas > 1:
            history = [*history, _snapshot(model)][-replicas:]
            _restore(model, history[0])
        optimizer.zero_grad(set_to_none=True)
        parts = []
        for loss in losses_at(iteration):
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append(loss.detach())
        if replicas > 1:
            _restore(model, history[-1])
        optimizer.step()
        losses.append(sum(parts[1:], parts[0]))

        done = iteration + 1
        if done == 1 or done % LOG_EVERY == 0 or done == protocol.iterations:
            values = torch.stack(losses).tolist()  # the loop's only wait for the device
            now = time.monotonic()
            _check_finite(values, done - len(values))
            images = len(values) * protocol.batch_size
            report(
                Report(
                    iteration=done,
                    iterations=protocol.iterations,
                    loss=sum(values) / len(values),
                    learning_rate=rate,
                    images_per_second=images / max(now - logged, 1e-9),
                )
            )
            losses, logged = [], now
            stop = should_stop()
            if (stop or now - saved > checkpoint_seconds) and done < protocol.iterations:
                write_tensors(checkpoint, pack(model, optimizer, history), {"iteration": done})
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise Diverged(f"{name} is not finite after iteration {protocol.iterations}")


def _check_finite(losses: Sequence[float], before: int) -> None:
    for offset, value in enumerate(losses):
        if not math.isfinite(value):
            raise Diverged(f"the loss became {value} at iteration {before + offset + 1}")


def _snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@torch.no_grad()
def _restore(model: nn.Module, weights: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
