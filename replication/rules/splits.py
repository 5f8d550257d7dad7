"""Splits: their official sizes, and what may never have been trained on."""

from collections.abc import Collection, Mapping

from replication.rules.deviation import Deviation, some

# Images of the official splits. VOC: the 2012 development kit's lists; trainaug: Hariharan et
# al.'s annotations as the paper counts them ("10,582 (trainaug)", section 4). Cityscapes: Cordts et
# al. 2016 ("5000 images", "20 000" coarse ones, of which 19,998 were released).
OFFICIAL: Mapping[str, Mapping[str, int]] = {
    "voc": {"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582, "test": 1456},
    "cityscapes": {
        "train": 2975,
        "val": 500,
        "trainval": 3475,
        "test": 1525,
        "train_extra": 19998,
    },
}


def official_size(role: str, split: str) -> int | None:
    """The number of images of an official split, or of several joined by +; None if not known."""
    sizes = [OFFICIAL.get(role, {}).get(part) for part in split.split("+")]
    return None if None in sizes else sum(size for size in sizes if size)


def split_size(role: str, split: str, images: int, *, comparable: bool) -> list[Deviation]:
    """A real split against the official one; only where numbers are compared is it a fault."""
    official = official_size(role, split)
    if official is None or images == official:
        return []
    how = "smaller" if images < official else "larger"
    return [
        Deviation(
            value=f"{role} {split} has {images:,} images, {how} than the official split",
            expected=f"{official:,}",
            warning=not comparable,
        )
    ]


def unseen(
    evaluated: Collection[str], trained: Collection[str], *, split: str, training: str
) -> list[Deviation]:
    """No image that is evaluated was trained on."""
    shared = sorted(set(evaluated) & set(trained))
    if not shared:
        return []
    return [
        Deviation(
            value=f"{training} trained on {len(shared):,} of the {len(evaluated):,} images of "
            f"{split} ({some(shared)})",
            expected="none of them",
        )
    ]
