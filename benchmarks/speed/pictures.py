"""Training batches from pictures: ours beside a DataLoader with torchvision's v2.

Photographs where they are given, else the generated set, which is JPEG and PNG files too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.networks import tier
from benchmarks.speed.alternating import Comparison, alternate
from replication.data import layouts
from replication.data.batches import MEAN, STD, draw, order
from replication.data.cache import Pictures
from replication.data.crops import cut, place
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


def our_batches(data: Pictures, crop: int, start: int) -> None:
    for iteration in range(start, start + BATCHES):
        batch = order(len(data), BATCH, iteration, 0)
        draws = draw(BATCH, (0.5, 2.0), 0.25, True, iteration=iteration, seed=0)
        places = place(torch.from_numpy(data.sizes[batch]), draws, crop, "bottom-right")
        cut([(data.image(i), data.mask(i)) for i in batch.tolist()], places)


@dataclass(frozen=True, kw_only=True)
class Given:
    """A set as our loader keeps it, and the files of its pictures and masks."""

    data: Pictures
    files: list[tuple[Path, Path]]
    what: str
    crops: tuple[int, ...]
    # Beside theirs from files; theirs decoded in memory is shown beside no aim.
    aim: float | None


def photographs(voc: str) -> Given:
    """A VOCdevkit folder's trainaug split. Raises DataError for what is not there, or damaged."""
    return _given({"voc": voc}, "paper", what="photographs", crops=(513, 65), aim=AIM)


def generated() -> Given:
    """The generated set at its own size: small files, of which little is decoding."""
    return _given({}, "micro", what="generated pictures", crops=(65,), aim=None)


def _given(
    data: dict[str, str], name: str, *, what: str, crops: tuple[int, ...], aim: float | None
) -> Given:
    sources = Sources.of(tier(name).data, data)
    listing = layouts.listing("voc", sources.by_role["voc"].root(), "trainaug")
    files = list(zip(listing.images, listing.masks, strict=True))
    decoded = sources.segmentation("voc", "trainaug")
    return Given(data=decoded, files=files, what=what, crops=crops, aim=aim)


def compare(repetitions: int, given: Given) -> Iterator[Comparison]:
    """On one core each: no worker processes, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for crop in given.crops:
        for decoded in (False, True):
            yield _compared(repetitions, given, crop, decoded=decoded)
    torch.set_num_threads(threads)


def _compared(repetitions: int, given: Given, crop: int, *, decoded: bool) -> Comparison:
    """Both go on to further pictures, scales and flips at each repetition, the same every time."""
    loader = DataLoader(
        Voc(given.files, crop, decoded=decoded),
        BATCH,
        shuffle=True,
        drop_last=True,
        generator=torch.Generator().manual_seed(0),
    )
    starts = count(0, BATCHES)

    def ours() -> None:
        our_batches(given.data, crop, next(starts))

    def theirs() -> None:
        for _, _ in zip(range(BATCHES), loader, strict=False):
            pass

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # v2 draws from torch's own generator
        of_ours, of_theirs = alternate(ours, theirs, repetitions)
    return Comparison(
        what=f"input, {given.what}, crop {crop}, one core",
        theirs_is=f"DataLoader, torchvision v2, {'decoded in memory' if decoded else 'from files'}",
        ours=tuple(of_ours),
        theirs=tuple(of_theirs),
        pieces=BATCH * BATCHES,
        unit="image",
        target=None if decoded else given.aim,
    )
