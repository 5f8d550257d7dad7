"""Evaluation: whole images, several inference strategies in one sweep, one count per image."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replication.data.batches import gather, normalise
from replication.data.cache import Decoded
from replication.data.layouts import IGNORE_INDEX
from replication.network.aspp import upsample
from replication.network.deeplab import DeepLabV3
from replication.protocol import Evaluation

# Pixels in one batch of images. On a CPU small batches stay in its cache
# (benchmarks/evaluation.py measures what that is worth).
BATCH_PIXELS = {"cpu": 1 << 15, "cuda": 1 << 20}


def scaled_size(size: int, scale: float) -> int:
    """A side of k * stride + 1 pixels stays of that form at half or double the scale (TF)."""
    return int((size - 1) * scale + 1)


def padded_size(height: int, width: int, crop_size: int, stride: int) -> tuple[int, int]:
    """Bottom and right padding to the crop; a larger image to the next k * stride + 1."""

    def side(length: int) -> int:
        return crop_size if length <= crop_size else -(-(length - 1) // stride) * stride + 1

    return side(height), side(width)


def passes(strategies: Sequence[Evaluation]) -> list[tuple[int, float, bool]]:
    """The forward passes (output stride, scale, flipped) that the strategies need, each once."""
    needed = {
        (one.output_stride, scale, flipped)
        for one in strategies
        for scale in one.scales
        for flipped in ((False, True) if one.flip else (False,))
    }
    return sorted(needed)


@torch.inference_mode()
def evaluate(
    model: DeepLabV3,
    data: Decoded,
    strategies: Sequence[Evaluation],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[NDArray[np.int32]]:
    """Confusion counts (images, classes, classes) of every strategy; rows are the truth.

    A strategy's result is the argmax of its summed class probabilities over scales and flips, at
    each image's own size. Strategies that need the same forward pass share it.
    """
    model.eval()
    device = next(model.parameters()).device
    classes = model.num_classes
    trained_at = model.output_stride
    counts = [np.zeros((len(data), classes, classes), dtype=np.int32) for _ in strategies]
    (crop_size,) = {one.crop_size for one in strategies}
    done = 0
    stride, pixels = model.network.stem_stride * 8, BATCH_PIXELS.get(device.type, 1 << 20)
    for batch, (height, width) in _batches(data, crop_size, stride, pixels):
        images, masks, sizes = gather(data, batch)
        x = _pad(images.to(device), sizes, height, width)
        summed: list[Tensor | None] = [None] * len(strategies)
        for output_stride, scale, flipped in passes(strategies):
            model.set_output_stride(output_stride)
            probabilities = _probabilities(model, x, scale, flipped)
            for i, one in enumerate(strategies):
                wanted = one.output_stride == output_stride and scale in one.scales
                if wanted and (one.flip or not flipped):
                    before = summed[i]
                    summed[i] = probabilities if before is None else before + probabilities
        for i, total in enumerate(summed):
            assert total is not None
            predicted = total.argmax(1)[:, : masks.shape[1], : masks.shape[2]]
            counts[i][batch] = count(predicted, masks.to(device), classes)
        done += len(batch)
        progress(done, len(data))
    model.set_output_stride(trained_at)
    return counts


def count(predicted: Tensor, masks: Tensor, classes: int) -> NDArray[np.int32]:
    """Confusion counts (N, classes, classes) of predictions and masks (N, h, w) without 255."""
    n = masks.shape[0]
    valid = masks != IGNORE_INDEX
    image = torch.arange(n, device=masks.device)[:, None, None].expand_as(masks)
    cell = (image * classes + masks.long()) * classes + predicted
    counted = torch.bincount(cell[valid], minlength=n * classes * classes)
    return counted.reshape(n, classes, classes).cpu().numpy().astype(np.int32)


def _batches(
    data: Decoded, crop_size: int, stride: int, pixels: int
) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Images of one padded size together, at most `pixels` of them at a time."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (h, w) in enumerate(data.sizes.tolist()):
        groups.setdefault(padded_size(h, w, crop_size, stride), []).append(i)
    for size, members in groups.items():
        step = max(1, pixels // (size[0] * size[1]))
        for start in range(0, len(members), step):
            yield members[start : start + step], size


def _pad(images: Tensor, sizes: Tensor, height: int, width: int) -> Tensor:
    """Normalised images (N, 3, height, width), the mean pixel beyond each image's own size."""
    x = normalise(images)
    rows = torch.arange(x.shape[2], device=x.device)[None, :, None]
    columns = torch.arange(x.shape[3], device=x.device)[None, None, :]
    h, w = (sizes.to(x.device)[:, axis, None, None] for axis in (0, 1))
    x = x * ((rows < h) & (columns < w))[:, None]
    padding = (0, width - x.shape[3], 0, height - x.shape[2])
    return torch.nn.functional.pad(x, padding).contiguous(memory_format=torch.channels_last)


def _probabilities(model: DeepLabV3, x: Tensor, scale: float, flipped: bool) -> Tensor:
    """Class probabilities (N, C, H, W) at x's size from one forward pass."""
    size = (x.shape[2], x.shape[3])
    align = model.network.align_corners
    if flipped:
        x = x.flip(3)
    if scale != 1.0:
        scaled = (scaled_size(size[0], scale), scaled_size(size[1], scale))
        x = upsample(x, scaled, align_corners=align)
    logits = upsample(model.coarse_logits(x), size, align_corners=align)
    probabilities = logits.softmax(1)
    return probabilities.flip(3) if flipped else probabilities
