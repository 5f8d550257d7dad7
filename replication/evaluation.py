"""Evaluation: whole images, several inference strategies in one sweep, one count per image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replication.arithmetic import arithmetic, moved, products
from replication.data.batches import gather, normalise
from replication.data.cache import Pictures
from replication.data.layouts import IGNORE_INDEX
from replication.errors import DataError
from replication.inference import (
    BATCH_PIXELS,
    images_at_once,
    padded_size,
    passes,
    scaled_size,
)
from replication.network.aspp import upsample
from replication.network.deeplab import DeepLabV3
from replication.network.folding import folded
from replication.protocol import Evaluation


class Segmenter(Protocol):
    """What evaluation asks of a network; `network.deeplab.DeepLabV3` is one."""

    num_classes: int

    @property
    def align_corners(self) -> bool:
        """How logits and scaled inputs are interpolated."""

    @property
    def output_stride(self) -> int: ...

    @property
    def size_step(self) -> int:
        """Images larger than the crop are padded to k * size_step + 1 pixels a side."""

    def set_output_stride(self, output_stride: int) -> None: ...

    def coarse_logits(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, h, w), at any resolution, of mean-subtracted (N, 3, H, W)."""

    def eval(self) -> Self: ...

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A batch's predictions: class indices (N, h, w) for each strategy, on the model's device.

    Image row i is `images[i]` of the set and has its true size in `sizes[i]` (h, w); what lies
    beyond is padding, and 255 in `masks`.
    """

    images: list[int]
    sizes: Tensor
    masks: Tensor
    by_strategy: tuple[Tensor, ...]


def evaluate(
    model: Segmenter,
    data: Pictures,
    strategies: Sequence[Evaluation],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[NDArray[np.int32]]:
    """Confusion counts (images, classes, classes) of every strategy; rows are the truth.

    Raises DataError for a set without masks.
    """
    if not data.labelled:
        raise DataError(f"split {data.split!r} has no masks: it can be predicted, not evaluated")
    classes = model.num_classes
    images: list[int] = []
    found: list[Tensor] = []
    for batch in predict(model, data, strategies, progress=progress):
        counted = [count(predicted, batch.masks, classes) for predicted in batch.by_strategy]
        found.append(torch.stack(counted))
        images += batch.images
    # The counts are small, and stay on the device until the end: the host waits for it once.
    by_batch = torch.cat(found, 1).cpu().numpy()
    counts = np.empty_like(by_batch)
    counts[:, images] = by_batch
    return list(counts)


@torch.inference_mode()
def predict(
    model: Segmenter,
    data: Pictures,
    strategies: Sequence[Evaluation],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Predicted]:
    """Every image's classes under every strategy, batch by batch, images of one size together.

    A strategy's result is the argmax of its summed class probabilities over scales and flips, at
    each image's own size. Strategies that need the same forward pass share it; all have one crop,
    one way to make it of a whole image, and one arithmetic. Raises RunError where that is not the
    device's.
    """
    model.eval()
    if isinstance(model, DeepLabV3):
        model = folded(model)
    device = next(model.parameters()).device
    trained_at = model.output_stride
    ((crop_size, whole_image, precision, deterministic),) = {
        (one.crop_size, one.whole_image, one.precision, one.deterministic) for one in strategies
    }
    resized = (crop_size, crop_size) if whole_image == "resized" else None
    done, pixels = 0, BATCH_PIXELS.get(device.type, 1 << 20)
    for batch, (height, width) in _batches(data, resized, crop_size, model.size_step, pixels):
        images, masks, sizes = gather(data, batch)
        x = _pad(moved(images, device), moved(sizes, device), height, width)
        # Around each batch: what the caller does between two of them is not of this arithmetic.
        with (
            arithmetic(device, precision, deterministic=deterministic, one_size=False),
            products(device, precision),
        ):
            summed = _sweep(model, x, strategies, resized)
        h, w = masks.shape[1:]
        predicted = tuple(total.max(1).indices[:, :h, :w] for total in summed)
        yield Predicted(
            images=batch, sizes=sizes, masks=moved(masks, device), by_strategy=predicted
        )
        done += len(batch)
        progress(done, len(data))
    model.set_output_stride(trained_at)


def _sweep(
    model: Segmenter, x: Tensor, strategies: Sequence[Evaluation], resized: tuple[int, int] | None
) -> list[Tensor]:
    """Each strategy's summed class probabilities (N, C, H, W) of one batch."""
    summed: dict[int, Tensor] = {}
    for output_stride, scale, flipped in passes(strategies):
        model.set_output_stride(output_stride)
        probabilities = _probabilities(model, x, resized, scale, flipped)
        for i, one in enumerate(strategies):
            wanted = one.output_stride == output_stride and scale in one.scales
            if wanted and (one.flip or not flipped):
                summed[i] = summed[i] + probabilities if i in summed else probabilities
    return [summed[i] for i in range(len(strategies))]


def count(predicted: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Confusion counts (N, classes, classes) of predictions and masks (N, h, w) without 255.

    Of int32, on the device of the predictions. Masks are of 0 to 255; no mask that was checked when
    its set was decoded has a value between the classes and 255.
    """
    histogram = _scattered if predicted.is_cuda else _binned
    return histogram(predicted, masks, classes)


def _binned(predicted: Tensor, masks: Tensor, classes: int) -> Tensor:
    """A picture at a time, which a cache holds; void falls into rows beyond the classes."""
    rows = IGNORE_INDEX + 1
    counted = [
        torch.bincount((mask.int() * classes + one.int()).flatten(), minlength=rows * classes)
        for one, mask in zip(predicted, masks, strict=True)
    ]
    return torch.stack(counted).view(-1, rows, classes)[:, :classes].int()


def _scattered(predicted: Tensor, masks: Tensor, classes: int) -> Tensor:
    """The same where bincount would wait to be told its size."""
    n = masks.shape[0]
    size = n * classes * classes
    valid = masks != IGNORE_INDEX
    image = torch.arange(n, device=masks.device)[:, None, None].expand_as(masks)
    cell = (image * classes + masks.long()) * classes + predicted
    kept = torch.where(valid, cell, size).flatten()
    counted = torch.zeros(size + 1, dtype=torch.int32, device=cell.device)
    one = torch.ones((), dtype=torch.int32, device=cell.device)
    counted = counted.scatter_add_(0, kept, one.expand_as(kept))
    return counted[:size].reshape(n, classes, classes)


def _batches(
    data: Pictures, resized: tuple[int, int] | None, crop_size: int, stride: int, pixels: int
) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Images of one padded size together, at most `pixels` of them at a time.

    What the network sees `resized` is not padded: then images of one size of their own.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (h, w) in enumerate(data.sizes.tolist()):
        size = padded_size(h, w, crop_size, stride) if resized is None else (h, w)
        groups.setdefault(size, []).append(i)
    for size, members in groups.items():
        step = images_at_once(size, resized or size, pixels)
        for start in range(0, len(members), step):
            yield members[start : start + step], size


def _pad(images: Tensor, sizes: Tensor, height: int, width: int) -> Tensor:
    """Normalised images (N, 3, height, width), the mean pixel beyond each image's own size."""
    x = normalise(images)
    rows = torch.arange(x.shape[2], device=x.device)[None, :, None]
    columns = torch.arange(x.shape[3], device=x.device)[None, None, :]
    h, w = (sizes[:, axis, None, None] for axis in (0, 1))
    x = x * ((rows < h) & (columns < w))[:, None]
    padding = (0, width - x.shape[3], 0, height - x.shape[2])
    return torch.nn.functional.pad(x, padding).contiguous(memory_format=torch.channels_last)


def _probabilities(
    model: Segmenter, x: Tensor, resized: tuple[int, int] | None, scale: float, flipped: bool
) -> Tensor:
    """Class probabilities (N, C, H, W) at x's size from one forward pass.

    The network sees x, or x `resized`, at a scale: x is interpolated once, and so are the logits.
    """
    size = (x.shape[2], x.shape[3])
    align = model.align_corners
    if flipped:
        x = x.flip(3)
    height, width = resized or size
    scaled = (scaled_size(height, scale), scaled_size(width, scale))
    if scaled != size:
        x = upsample(x, scaled, align_corners=align)
    logits = upsample(model.coarse_logits(x), size, align_corners=align)
    probabilities = logits.softmax(1)
    return probabilities.flip(3) if flipped else probabilities
