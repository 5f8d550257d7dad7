"""Training batches: which images, and the random scale, pad, crop and flip of each.

Every draw is a pure function of (seed, iteration), so a resumed run continues with exactly the
batches that an undisturbed one would have seen, and cells that share a seed share their draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from replication.arithmetic import moved
from replication.data.cache import Pictures
from replication.data.layouts import IGNORE_INDEX
from replication.protocol import Padding

# ImageNet's channel statistics (torchvision's convention), for pixels in 0 to 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W), the mean pixel at zero; channels_last memory."""
    return _normalised(pixels.float()).permute(0, 3, 1, 2)


def _normalised(values: Tensor) -> Tensor:
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
    padding is never read by `augment`.
    """
    sizes = data.sizes[list(indices)]
    h, w = sizes.max(0)
    images = np.zeros((len(indices), h, w, 3), dtype=np.uint8)
    masks = np.full((len(indices), h, w), IGNORE_INDEX, dtype=np.uint8)
    for row, i in enumerate(indices):
        images[row, : sizes[row, 0], : sizes[row, 1]] = data.image(i)
        masks[row, : sizes[row, 0], : sizes[row, 1]] = data.mask(i)
    return torch.from_numpy(images), torch.from_numpy(masks), torch.from_numpy(sizes)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the pixels of a batch of crops lie in their pictures, rows and columns apart.

    Worked out on the host, from few numbers, so that a device gets all of it without waiting.
    """

    # Of the nearest pixel, for the masks.
    rows: Tensor  # (N, crop) int64
    columns: Tensor
    # Between pixels, as grid_sample takes it: -1 to 1 over the stacked pictures.
    grid_y: Tensor  # (N, crop) float
    grid_x: Tensor
    # False for what is padding.
    inside_y: Tensor  # (N, crop) bool
    inside_x: Tensor

    def to(self, device: torch.device) -> "Places":
        return Places(**{one.name: moved(getattr(self, one.name), device) for one in fields(self)})


def place(
    sizes: Tensor, draws: Draws, crop_size: int, *, stacked: tuple[int, int], padding: Padding
) -> Places:
    """The places of one batch's crops in pictures of these sizes, stacked to (H, W)."""
    scales = torch.from_numpy(draws.scales)
    scaled = (sizes * scales[:, None]).floor().clamp(min=1)  # (n, 2)
    room = (scaled - crop_size).clamp(min=0)
    offsets = (torch.from_numpy(draws.offsets) * (room + 1)).floor()
    if padding == "centre":
        # A side is padded or has room, never both: the crop starts that far before the picture.
        offsets -= ((crop_size - scaled).clamp(min=0) / 2).floor()
    steps = torch.arange(crop_size, dtype=torch.float64)
    flips = torch.from_numpy(draws.flips)[:, None]
    ys = steps[None] + offsets[:, :1]
    xs = torch.where(flips, crop_size - 1 - steps, steps) + offsets[:, 1:]
    # Positions in the source, in pixels; what lies beyond the scaled image is padding.
    inside_y = (ys >= 0) & (ys < scaled[:, :1])
    inside_x = (xs >= 0) & (xs < scaled[:, 1:])
    ratio = sizes / scaled
    h, w = sizes[:, :1], sizes[:, 1:]
    source_y, source_x = (ys + 0.5) * ratio[:, :1], (xs + 0.5) * ratio[:, 1:]
    rows = torch.minimum(source_y.floor().clamp(min=0), h - 1).long()
    columns = torch.minimum(source_x.floor().clamp(min=0), w - 1).long()

    # grid_sample clamps to the stacked tensor's border; clamp to each image's own first.
    source_y = torch.minimum((source_y - 0.5).clamp(min=0), h - 1)
    source_x = torch.minimum((source_x - 0.5).clamp(min=0), w - 1)
    return Places(
        rows=rows,
        columns=columns,
        grid_y=((2 * source_y + 1) / stacked[0] - 1).float(),
        grid_x=((2 * source_x + 1) / stacked[1] - 1).float(),
        inside_y=inside_y,
        inside_x=inside_x,
    )


def sample(images: Tensor, masks: Tensor, places: Places) -> tuple[Tensor, Tensor]:
    """The crops of a batch, on its device, in one interpolation; as `augment` returns them."""
    count, crop_size = places.rows.shape
    inside = places.inside_y[:, :, None] & places.inside_x[:, None, :]
    batch = torch.arange(count, device=images.device)[:, None, None]
    labels = masks[batch, places.rows[:, :, None], places.columns[:, None, :]].long()
    labels.masked_fill_(~inside, IGNORE_INDEX)
    grid = torch.stack(
        [
            places.grid_x[:, None, :].expand(-1, crop_size, -1),
            places.grid_y[:, :, None].expand(-1, -1, crop_size),
        ],
        -1,
    )

    def sampled(whole: Tensor) -> Tensor:
        return F.grid_sample(whole, grid, padding_mode="border", align_corners=False)

    # Normalised after it is cropped: a photograph has several times a crop's pixels.
    crops = sampled(images.float().permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    pixels = _normalised(crops).permute(0, 3, 1, 2)
    return pixels.masked_fill(~inside[:, None], 0.0), labels


def augment(
    images: Tensor,
    masks: Tensor,
    sizes: Tensor,
    draws: Draws,
    crop_size: int,
    *,
    padding: Padding = "bottom-right",
) -> tuple[Tensor, Tensor]:
    """Scale, pad, crop and flip a batch in one interpolation.

    Takes what `gather` gives; returns images (N, 3, crop, crop), mean-subtracted, and masks
    (N, crop, crop) int64. Each image is resized by its scale (bilinear, half-pixel centres; the
    mask by nearest), padded with the mean pixel and 255 to at least the crop, cropped at a random
    place, and flipped left-right. `padding` "centre" puts half of it, rounded down, at the top and
    left. Nothing that is drawn depends on it.
    """
    stacked = (images.shape[1], images.shape[2])
    places = place(sizes, draws, crop_size, stacked=stacked, padding=padding)
    return sample(images, masks, places.to(images.device))
