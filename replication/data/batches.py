"""Training batches: which images, and the random numbers of the scale, crop and flip of each.

Every draw is a pure function of (seed, iteration), so a resumed run continues with exactly the
batches that an undisturbed one would have seen, and cells that share a seed share their draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replication.arithmetic import moved
from replication.data.cache import Pictures
from replication.data.layouts import IGNORE_INDEX

# ImageNet's channel statistics (torchvision's convention), for pixels in 0 to 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W), the mean pixel at zero; channels_last memory."""
    return standardised(pixels.float()).permute(0, 3, 1, 2)


def standardised(values: Tensor) -> Tensor:
    """Channels last: 0 to 255 in, the mean pixel at zero out."""
    mean, std = (moved(torch.tensor(one), values.device) for one in (MEAN, STD))
    return (values / 255.0 - mean) / std


def order(count: int, batch_size: int, iteration: int, seed: int) -> NDArray[np.int64]:
    """The positions of iteration's batch in an endless stream of shuffled epochs."""
    start = iteration * batch_size
    positions = np.arange(start, start + batch_size)
    epochs = positions // count
    batch = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        permutation = _shuffled(count, int(epoch), seed)
        batch[epochs == epoch] = permutation[positions[epochs == epoch] % count]
    return batch


@lru_cache(maxsize=2)
def _shuffled(count: int, epoch: int, seed: int) -> NDArray[np.int64]:
    """Kept, since an epoch has many batches, and a batch is of two epochs at most."""
    permutation = np.random.default_rng([seed, 1, epoch]).permutation(count)
    permutation.flags.writeable = False
    return permutation


@dataclass(frozen=True, kw_only=True)
class Draws:
    """One batch's random numbers: scales, flips, and crop offsets as fractions of the room."""

    scales: NDArray[np.float64]
    flips: NDArray[np.bool_]
    offsets: NDArray[np.float64]  # (n, 2): y, x in [0, 1)


def draw(
    count: int,
    scale_range: tuple[float, float],
    scale_step: float,
    flip: bool,
    *,
    iteration: int,
    seed: int,
) -> Draws:
    """Draw the augmentation of `count` images; `scale_step` 0 draws scales continuously."""
    random = np.random.default_rng([seed, 2, iteration])
    low, high = scale_range
    if scale_step > 0:
        steps = round((high - low) / scale_step)
        scales = np.asarray(low + scale_step * random.integers(0, steps + 1, count), np.float64)
    else:
        scales = random.uniform(low, high, count)
    flips = random.random(count) < 0.5
    return Draws(
        scales=scales,
        flips=flips if flip else np.zeros_like(flips),
        offsets=random.random((count, 2)),
    )


def gather(data: Pictures, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Stack images (N, H, W, 3) and masks (N, H, W) uint8 with their true sizes (N, 2).

    Images of several sizes are padded at the bottom and right to the largest of the batch; the
    padding is never read by `crops.sample`.
    """
    sizes = data.sizes[list(indices)]
    h, w = sizes.max(0)
    images = np.zeros((len(indices), h, w, 3), dtype=np.uint8)
    masks = np.full((len(indices), h, w), IGNORE_INDEX, dtype=np.uint8)
    for row, i in enumerate(indices):
        images[row, : sizes[row, 0], : sizes[row, 1]] = data.image(i)
        masks[row, : sizes[row, 0], : sizes[row, 1]] = data.mask(i)
    return torch.from_numpy(images), torch.from_numpy(masks), torch.from_numpy(sizes)
