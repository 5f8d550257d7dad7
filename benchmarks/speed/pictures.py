"""Training batches from pictures: ours beside a DataLoader with torchvision's v2.

Photographs where they are given, else the generated set, which is JPEG and PNG files too. Both
go on to further pictures, scales and flips at each repetition, the same in every run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.machine import copies
from benchmarks.networks import tier
from benchmarks.speed.alternating import Comparison, Run, alternate, three
from benchmarks.speed.apart import apart
from replication.allocation import keep_memory
from replication.data import layouts
from replication.data.batches import MEAN, STD, draw, order
from replication.data.cache import Pictures
from replication.data.crops import Places, cut, place
from replication.data.sources import Sources

BATCH, BATCHES = 16, 4
AIM = 5.0

Pair = tuple[tv_tensors.Image, tv_tensors.Mask]


class Voc(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Scale 0.5 to 2.0 in steps of 0.25, pad, crop and flip, as torchvision's v2 has them."""

    def __init__(self, files: list[tuple[Path, Path]], crop: int, *, decoded: bool) -> None:
        self.files, self.crop = files, crop
        self.pairs = [self._read(i) for i in range(len(files))] if decoded else None
        self.after = v2.Compose(
            [
                v2.RandomCrop(
                    crop,
                    pad_if_needed=True,
                    fill={tv_tensors.Image: [int(255 * m) for m in MEAN], tv_tensors.Mask: 255},
                ),
                v2.RandomHorizontalFlip(0.5),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def _read(self, i: int) -> Pair:
        image, mask = self.files[i]
        pixels = v2.functional.pil_to_tensor(Image.open(image).convert("RGB"))
        labels = v2.functional.pil_to_tensor(Image.open(mask))
        return tv_tensors.Image(pixels), tv_tensors.Mask(labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self._read(i) if self.pairs is None else self.pairs[i]
        factor = 0.5 + 0.25 * int(torch.randint(0, 7, ()))
        size = [int(side * factor) for side in image.shape[-2:]]
        image = v2.functional.resize(image, size, antialias=False)
        mask = v2.functional.resize(mask, size, v2.InterpolationMode.NEAREST)
        image, mask = self.after(image, mask)
        return image, mask[0].long()


@dataclass(frozen=True, kw_only=True)
class Given:
    """A set as our loader keeps it, and the files of its pictures and masks."""

    data: Pictures
    files: list[tuple[Path, Path]]


def given(voc: str | None) -> Given:
    """A VOCdevkit folder's trainaug split, or the generated one: small files, little to decode.

    Raises DataError for what is not there, or damaged.
    """
    named = {} if voc is None else {"voc": voc}
    sources = Sources.of(tier("micro" if voc is None else "paper").data, named)
    listing = layouts.listing("voc", sources.by_role["voc"].root(), "trainaug")
    files = list(zip(listing.images, listing.masks, strict=True))
    return Given(data=sources.segmentation("voc", "trainaug"), files=files)


def ours(voc: str | None, crop: int) -> Run:
    """As a run has it, in a process that keeps its memory; on one thread."""
    torch.set_num_threads(1)
    keep_memory()
    return our_batches(given(voc).data, crop)


def theirs(voc: str | None, crop: int, decoded: bool) -> Run:
    """No worker processes, one thread."""
    torch.set_num_threads(1)
    return their_batches(given(voc).files, crop, decoded=decoded)


def our_batches(data: Pictures, crop: int) -> Run:
    """Each call makes the next BATCHES batches: further pictures, scales, flips."""
    iterations = count()

    def run() -> None:
        for _ in range(BATCHES):
            batch, places = _chosen(data, crop, next(iterations))
            cut([(data.image(i), data.mask(i)) for i in batch.tolist()], places)

    return run


def their_batches(files: list[tuple[Path, Path]], crop: int, *, decoded: bool) -> Run:
    loader = DataLoader(
        Voc(files, crop, decoded=decoded),
        BATCH,
        shuffle=True,
        drop_last=True,
        generator=torch.Generator().manual_seed(0),
    )
    torch.manual_seed(0)  # v2 draws from torch's own generator

    def run() -> None:
        for _, _ in zip(range(BATCHES), loader, strict=False):
            pass

    return run


def _chosen(data: Pictures, crop: int, iteration: int) -> tuple[NDArray[np.int64], Places]:
    batch = order(len(data), BATCH, iteration, 0)
    draws = draw(BATCH, (0.5, 2.0), 0.25, True, iteration=iteration, seed=0)
    return batch, place(torch.from_numpy(data.sizes[batch]), draws, crop, "bottom-right")


def passes(places: Places) -> int:
    """Bytes that `cut` reads and writes in making these crops, each pass from and to memory."""
    moved = 0
    for y, x, inside_y, inside_x in zip(
        places.y, places.x, places.inside_y, places.inside_x, strict=True
    ):
        rows, columns = (int(one.ceil().max() - one.floor().min()) + 1 for one in (y, x))
        height, width = int(inside_y.sum()), int(inside_x.sum())
        # In values of three channels: bytes to floats; two selections, a product, a sum; the same
        # of rows and their mean.
        moved += 3 * (rows * columns * 5 + rows * width * (2 * 8 + 8 + 12))
        moved += 3 * height * width * (2 * 8 + 12)
        # The mask's rows, columns, and its labels as int64.
        moved += height * columns * 2 + height * width * (2 + 9)
        if height * width < len(y) ** 2:
            moved += len(y) ** 2 * (12 + 8)
    return moved


def compare(repetitions: int, voc: str | None) -> Iterator[Comparison]:
    """Each in a process of its own, at the paper's crop and the micro tier's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    speed = copies()
    torch.set_num_threads(threads)
    for crop in (65,) if voc is None else (513, 65):
        for decoded in (False, True):
            with apart(ours, voc, crop) as our_run, apart(theirs, voc, crop, decoded) as their_run:
                of_ours, of_theirs = alternate(our_run, their_run, repetitions)
            what = "photographs" if voc else "generated pictures"
            how = "decoded in memory" if decoded else "from files"
            yield Comparison(
                what=f"input, {what}, crop {crop}, one core",
                theirs_is=f"DataLoader, torchvision v2, {how}",
                ours=tuple(of_ours),
                theirs=tuple(of_theirs),
                pieces=BATCH * BATCHES,
                unit="image",
                target=AIM if voc and not decoded else None,
                note=_bound(given(voc).data, crop, repetitions, speed),
            )


def _bound(data: Pictures, crop: int, repetitions: int, speed: float) -> str:
    """What ours would reach, were each of its passes from and to memory, beyond the caches."""
    iterations = range(BATCHES, BATCHES * (repetitions + 1))  # the first are to warm up
    batches = [passes(_chosen(data, crop, one)[1]) for one in iterations]
    moved = sum(batches) / (BATCH * len(batches))
    return (
        f"Our passes move {moved / 1e6:.2g} MB an image; were all of it from and to memory, at the "
        f"speed of copies ({speed / 1e9:.1f} GB/s), that would be {three(speed / moved)} images/s."
    )
