"""The crops of a training batch: scaled, padded, cropped and flipped in one interpolation.

Scaling is separable: a crop's rows and its columns each have their places in the picture. The host
makes a crop in two passes over the pixels it needs, those of a batch of small pictures together; a
GPU makes a whole batch in one call. All are bilinear with half-pixel centres, and nearest for the
mask.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from replication.arithmetic import moved
from replication.data.batches import MEAN, STD, Draws, standardised
from replication.data.layouts import IGNORE_INDEX
from replication.data.reading import Bytes
from replication.protocol import Padding

# Values of a batch of equal pictures up to which its crops are made together: of few values it is
# the calls that take the time, of many the parts of pictures that no crop shows.
TOGETHER = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the pixels of a batch of crops lie in their pictures, rows and columns apart.

    Worked out on the host, from few numbers, so that a device gets all of it without waiting.
    """

    # Of the nearest pixel, for the masks.
    rows: Tensor  # (N, crop) int64
    columns: Tensor
    # Between the centres of pixels, and not beyond the outermost.
    y: Tensor  # (N, crop) float64
    x: Tensor
    # False for what is padding: at either end, never between.
    inside_y: Tensor  # (N, crop) bool
    inside_x: Tensor

    def to(self, device: torch.device) -> "Places":
        return Places(**{one.name: moved(getattr(self, one.name), device) for one in fields(self)})


def place(sizes: Tensor, draws: Draws, crop_size: int, padding: Padding) -> Places:
    """The places of one batch's crops in pictures of these sizes (N, 2)."""
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
    ratio = sizes / scaled
    last_y, last_x = sizes[:, :1] - 1, sizes[:, 1:] - 1
    source_y, source_x = (ys + 0.5) * ratio[:, :1], (xs + 0.5) * ratio[:, 1:]
    return Places(
        rows=torch.minimum(source_y.floor().clamp(min=0), last_y).long(),
        columns=torch.minimum(source_x.floor().clamp(min=0), last_x).long(),
        y=torch.minimum((source_y - 0.5).clamp(min=0), last_y),
        x=torch.minimum((source_x - 0.5).clamp(min=0), last_x),
        inside_y=(ys >= 0) & (ys < scaled[:, :1]),
        inside_x=(xs >= 0) & (xs < scaled[:, 1:]),
    )


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
    places = place(sizes, draws, crop_size, padding)
    if images.device.type == "cpu":
        return cut(zip(images.numpy(), masks.numpy(), strict=True), places)
    return sample(images, masks, places.to(images.device))


def sample(images: Tensor, masks: Tensor, places: Places) -> tuple[Tensor, Tensor]:
    """The crops of stacked pictures on any device, all in one call; as `augment` returns them."""
    count, crop_size = places.rows.shape
    inside = places.inside_y[:, :, None] & places.inside_x[:, None, :]
    batch = torch.arange(count, device=images.device)[:, None, None]
    labels = masks[batch, places.rows[:, :, None], places.columns[:, None, :]].long()
    labels.masked_fill_(~inside, IGNORE_INDEX)
    # As grid_sample takes them: -1 to 1 from border to border of the stacked pictures.
    height, width = images.shape[1:3]
    y, x = (2 * places.y + 1) / height - 1, (2 * places.x + 1) / width - 1
    shape = (count, crop_size, crop_size)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1).float()
    whole = images.float().permute(0, 3, 1, 2)
    crops = F.grid_sample(whole, grid, padding_mode="border", align_corners=False)
    # Standardised after it is cropped: a photograph has several times a crop's pixels.
    pixels = standardised(crops.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return pixels.masked_fill(~inside[:, None], 0.0), labels


def cut(pictures: Iterable[tuple[Bytes, Bytes]], places: Places) -> tuple[Tensor, Tensor]:
    """The crops of images (H, W, 3) and masks (H, W) in the host's memory, as `augment`'s."""
    images, masks = zip(*pictures, strict=True)
    alike = len({one.shape for one in masks}) == 1
    if alike and sum(one.size for one in images) <= TOGETHER:
        return _together(np.stack(images), np.stack(masks), places)
    return _one_by_one(images, masks, places)


def _together(images: Bytes, masks: Bytes, places: Places) -> tuple[Tensor, Tensor]:
    """Those of pictures of one size, stacked: the same bits as one by one, in fewer calls."""
    count, crop_size = places.rows.shape
    height, width = masks.shape[1:]
    y, x = _Taps.of(places.y), _Taps.of(places.x)
    before, after, added = _factors(x.share)
    whole = torch.from_numpy(images.astype(np.float32)).flatten(2)
    near, far = (
        whole.gather(2, _values(taps)[:, None].expand(-1, height, -1)) for taps in (x.low, x.high)
    )
    across = torch.addcmul(added, near, before[:, None]).addcmul_(far, after[:, None])
    first = height * torch.arange(count)[:, None]
    above, below = (
        across.flatten(0, 1).index_select(0, (first + taps).flatten()) for taps in (y.low, y.high)
    )
    pixels = torch.lerp(above, below, y.share.flatten()[:, None])
    pixels = pixels.view(count, crop_size, crop_size, 3)
    nearest = width * (first + places.rows)[:, :, None] + places.columns[:, None]
    labels = masks.reshape(-1).take(nearest.numpy()).astype(np.int64)
    cropped = zip(pixels.numpy(), labels, strict=True)
    insides = zip(_spans(places.inside_y), _spans(places.inside_x), strict=True)
    for crop, (ys, xs) in zip(cropped, insides, strict=True):
        for of_it, padding in zip(crop, (0, IGNORE_INDEX), strict=True):
            of_it[: ys.start] = of_it[ys.stop :] = padding
            of_it[:, : xs.start] = of_it[:, xs.stop :] = padding
    return pixels.permute(0, 3, 1, 2), torch.from_numpy(labels)


def _one_by_one(
    images: Sequence[Bytes], masks: Sequence[Bytes], places: Places
) -> tuple[Tensor, Tensor]:
    """In two passes over what each crop needs: the columns of its rows, then the rows."""
    count, crop_size = places.rows.shape
    # By numpy, which asks the system for large pages: there are fewer to be had.
    pixels = np.empty((count, crop_size, crop_size * 3), dtype=np.float32)
    labels = np.empty((count, crop_size, crop_size), dtype=np.int64)
    into = torch.from_numpy(pixels)
    y, x = _Taps.of(places.y), _Taps.of(places.x)
    before, after, added = _factors(x.share)
    top, bottom = y.from_start()
    left, right = (_values(taps) for taps in x.from_start())
    rows, columns = places.rows.numpy(), places.columns.numpy()
    insides = zip(_spans(places.inside_y), _spans(places.inside_x), strict=True)
    read = zip(y.spans(), x.spans(), strict=True)
    for i, ((ys, xs), (stretch_y, stretch_x)) in enumerate(zip(insides, read, strict=True)):
        if (ys.stop - ys.start) * (xs.stop - xs.start) < crop_size**2:
            pixels[i], labels[i] = 0, IGNORE_INDEX
        values = slice(3 * xs.start, 3 * xs.stop)
        window = torch.from_numpy(images[i][stretch_y, stretch_x].astype(np.float32)).flatten(1)
        near, far = (window.index_select(1, taps[i, values]) for taps in (left, right))
        across = torch.addcmul(added[values], near, before[i, values])
        across.addcmul_(far, after[i, values])
        torch.lerp(
            across.index_select(0, top[i, ys]),
            across.index_select(0, bottom[i, ys]),
            y.share[i, ys, None],
            out=into[i, ys, values],
        )
        nearest = columns[i, xs] - stretch_x.start
        labels[i, ys, xs] = masks[i][rows[i, ys], stretch_x].take(nearest, 1)
    shape = (count, crop_size, crop_size, 3)
    return into.view(shape).permute(0, 3, 1, 2), torch.from_numpy(labels)


def _factors(share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """0 to 255 in, standardised out: the factors (N, 3 * crop) of the values before and after each
    column's place, and what to add.
    """
    std = torch.tensor(STD)
    before, after = ((one[:, :, None] / (255 * std)).flatten(1) for one in (1 - share, share))
    return before, after, (-torch.tensor(MEAN) / std).repeat(share.shape[1])


def _values(columns: Tensor) -> Tensor:
    """Three values for a column: torch selects single values much faster than threes of them."""
    return (3 * columns[:, :, None] + torch.arange(3)).flatten(1)


@dataclass(frozen=True, kw_only=True)
class _Taps:
    """Along one axis: which pixels make a place.

    Places in the padding are the nearest pixel's: a side that is padded is read whole anyway.
    """

    low: Tensor  # (N, crop) int64: the pixel before
    high: Tensor  # and the one after
    share: Tensor  # (N, crop) float32: what the one after has of the whole

    @classmethod
    def of(cls, places: Tensor) -> "_Taps":
        low = places.floor()
        return cls(low=low.long(), high=places.ceil().long(), share=(places - low).float())

    def spans(self) -> list[slice]:
        """The part of each picture that is read."""
        ends = torch.stack([self.low.amin(1), self.high.amax(1) + 1], 1)
        return [slice(*one) for one in ends.tolist()]

    def from_start(self) -> tuple[Tensor, Tensor]:
        """The pixels before and after, counted from where that part starts."""
        start = self.low.amin(1, keepdim=True)
        return self.low - start, self.high - start


def _spans(inside: Tensor) -> list[slice]:
    """Where each row of (N, crop) is true: a stretch of it."""
    first, many = inside.byte().argmax(1), inside.sum(1)
    return [slice(*ends) for ends in torch.stack([first, first + many], 1).tolist()]
