"""What a split holds, as far as cost goes: how many pictures of which sizes, of how many classes.

From the files where they are there; from the recipe of a generated set, which need not be made
yet; else from what is published of the official set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from replication.data import embedded, layouts
from replication.data.sources import Source, Sources
from replication.errors import DataError

Size = tuple[int, int]

# Headers read of a split, evenly spread; the others are taken to be as these are.
MOST_HEADERS = 2000

# Pictures, a typical size (height, width) and classes of the official sets. VOC: the segmentation
# challenge's lists, and trainaug as in section 4.1; Cityscapes: its own paper's Table 1; COCO: what
# the paper says it keeps.
OFFICIAL: Mapping[str, tuple[Mapping[str, int], Size, int]] = {
    "voc": (
        {"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10_582, "test": 1456},
        (375, 500), 21,
    ),
    "coco": ({"train": 60_000}, (480, 640), 21),
    "cityscapes": (
        {"train": 2975, "val": 500, "trainval": 3475, "test": 1525, "train_extra": 19_998},
        (1024, 2048), 19,
    ),
    "imagenet": ({"train": 1_281_167, "val": 50_000}, (375, 500), 1000),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Split:
    """A split's pictures by size (height, width), and its classes."""

    sizes: Mapping[Size, int]
    classes: int
    # Whether it is the official set's description that stands in for data that are not given.
    assumed: bool = False

    @property
    def count(self) -> int:
        return sum(self.sizes.values())

    @property
    def pixels(self) -> int:
        return sum(height * width * n for (height, width), n in self.sizes.items())


class Splits:
    """The splits of a run's sources, each looked up once."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._known: dict[tuple[str, str], Split] = {}

    def of(self, role: str, split: str) -> Split:
        """The split; raises DataError where data are given and do not hold it."""
        if (role, split) not in self._known:
            self._known[role, split] = self._look(role, split)
        return self._known[role, split]

    def _look(self, role: str, split: str) -> Split:
        source = self.sources.by_role[role]
        if not source.at:
            return _official(role, split)
        if source.recipe is not None:
            return _generated(source, split)
        if role == "imagenet":
            found = layouts.folders(source.root(), split)
            return Split(sizes=_sizes(found.images), classes=len(found.classes))
        listing = layouts.listing(role, source.root(), split)
        classes = len(listing.classes)
        if role == "coco" and self.sources.by_role["voc"].at:
            classes = self.of("voc", "train").classes  # its masks are read as VOC's
        return Split(sizes=_sizes(listing.images), classes=classes)


def _official(role: str, split: str) -> Split:
    counts, size, classes = OFFICIAL[role]
    parts = split.split("+")
    if unknown := [part for part in parts if part not in counts]:
        raise DataError(f"{role} {unknown[0]}: no such split of the official set")
    return Split(sizes={size: sum(counts[part] for part in parts)}, classes=classes, assumed=True)


def _generated(source: Source, split: str) -> Split:
    from replication.data.embedded import scenes, streets

    recipe = embedded.RECIPES[source.recipe or ""]
    counts = dict(getattr(recipe, source.role))
    classes, size = len(scenes.VOC_CLASSES), (recipe.size, recipe.size)
    if source.role == "cityscapes":
        classes, size = len(streets.CLASSES), recipe.street_size
    elif source.role == "imagenet":
        classes = len(scenes.crop_classes(recipe.scene.pairs))
        size = (recipe.pretrain_size, recipe.pretrain_size)
    # As the sets' lists are made: trainaug is train and its own.
    counts["trainval"] = counts.get("train", 0) + counts.get("val", 0)
    if source.role == "voc":
        counts["trainaug"] += counts["train"]
    return Split(sizes={size: sum(counts[part] for part in split.split("+"))}, classes=classes)


def _sizes(files: tuple[Path, ...]) -> dict[Size, int]:
    """Pictures by size, from at most MOST_HEADERS headers; unreadable files count nothing."""
    step = -(-len(files) // MOST_HEADERS)
    found: dict[Size, int] = {}
    for path in files[::step]:
        try:
            with Image.open(path) as file:
                size = (file.height, file.width)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            continue  # decoding names it, with every other problem of the split
        found[size] = found.get(size, 0) + 1
    if step == 1:
        return found
    read = sum(found.values())
    return {size: max(1, round(n * len(files) / read)) for size, n in found.items()}
