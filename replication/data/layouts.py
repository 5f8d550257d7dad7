"""Where the files of a split are: the VOC 2012, Cityscapes and ImageFolder layouts.

A `Listing` names the files and says how mask values become class indices; nothing is decoded
here. `reading` checks and reads what a listing names; `cache` keeps it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from replication.errors import DataError

IGNORE_INDEX = 255

VOC_CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)
# Cityscapes' 19 train ids in order (cityscapesscripts' label table).
CITYSCAPES_CLASSES = tuple(
    "road,sidewalk,building,wall,fence,pole,traffic light,traffic sign,vegetation,terrain,sky,"
    "person,rider,car,truck,bus,train,motorcycle,bicycle".split(",")
)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of one split. `remap[i]` is the class index of mask value `sources[i]`."""

    root: Path
    split: str
    ids: tuple[str, ...]
    images: tuple[Path, ...]
    # Empty for a set to be predicted only.
    masks: tuple[Path, ...]
    classes: tuple[str, ...]
    # Names of the mask's own values, in order, where they are not `classes` (COCO's extra ones).
    source_classes: tuple[str, ...]

    @property
    def labelled(self) -> bool:
        return bool(self.masks)

    @property
    def remap(self) -> tuple[int, ...]:
        """Class index of each mask value; classes that `classes` lacks become background."""
        known = {name: index for index, name in enumerate(self.classes)}
        return tuple(known.get(name, 0) for name in self.source_classes)

    def fingerprint(self) -> str:
        """A hash of ids, file sizes and classes: what was trained on, wherever it lies."""
        digest = hashlib.sha256(repr((self.classes, self.source_classes)).encode())
        files = zip(self.images, self.masks, strict=True) if self.masks else zip(self.images)
        for id_, paths in zip(self.ids, files, strict=True):
            sizes = [path.stat().st_size if path.exists() else -1 for path in paths]
            digest.update(f"{id_} {sizes}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Folders:
    """An ImageFolder split: one folder a class."""

    root: Path
    split: str
    images: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.classes).encode())
        for path, label in zip(self.images, self.labels, strict=True):
            digest.update(f"{path.name} {label} {path.stat().st_size}\n".encode())
        return digest.hexdigest()


def listing(
    role: str,
    root: Path,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    labelled: bool = True,
) -> Listing:
    """The files of `split` of the segmentation role `voc`, `coco` or `cityscapes`.

    `classes` asks for another set's classes by name; what the set has beyond them is background.
    With labelled=False the masks are left out: a test set has none, or dummies.
    """
    found = _cityscapes(root, split) if role == "cityscapes" else _voc(root, split, classes)
    return found if labelled else replace(found, masks=())


def _voc(root: Path, split: str, classes: Sequence[str] | None) -> Listing:
    home, own = _voc_home(root), class_names(root)
    ids: list[str] = []
    for part in split.split("+"):
        file = home / "ImageSets" / "Segmentation" / f"{part}.txt"
        if not file.is_file():
            known = ", ".join(sorted(p.stem for p in file.parent.glob("*.txt"))) or "none"
            raise DataError(f"{file}: no such split; the set has: {known}")
        # Some copies of trainaug.txt name image and mask; the first word's stem is the id.
        ids += [
            Path(line.split()[0]).stem for line in file.read_text().splitlines() if line.strip()
        ]
    if not ids:
        raise DataError(f"{file}: the list is empty")
    official, augmented = home / "SegmentationClass", home / "SegmentationClassAug"
    masks = []
    for id_ in ids:
        # VOC's own mask wins over SBD's where both exist.
        own_mask, sbd_mask = official / f"{id_}.png", augmented / f"{id_}.png"
        masks.append(sbd_mask if sbd_mask.is_file() and not own_mask.is_file() else own_mask)
    return Listing(
        root=home,
        split=split,
        ids=tuple(ids),
        images=tuple(home / "JPEGImages" / f"{id_}.jpg" for id_ in ids),
        masks=tuple(masks),
        classes=tuple(classes or own),
        source_classes=own,
    )


def _voc_home(root: Path) -> Path:
    """The VOC2012 folder, given itself or the VOCdevkit folder above it."""
    for home in (root / "VOC2012", root):
        if (home / "ImageSets").is_dir():
            return home
    raise DataError(
        f"{root}: no VOC 2012 data here (no VOC2012/ImageSets); give the VOCdevkit folder, "
        "e.g. --data voc=DATA/VOCdevkit"
    )


def class_names(root: Path) -> tuple[str, ...]:
    """A generated set names its classes in classes.txt; VOC's own need no file."""
    file = _voc_home(root) / "classes.txt"
    if not file.is_file():
        return VOC_CLASSES
    names = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    if not names or names[0] != "background":
        raise DataError(f"{file}: the first line must be `background`")
    return names


def _cityscapes(root: Path, split: str) -> Listing:
    images: list[Path] = []
    masks: list[Path] = []
    for part in split.split("+"):
        for one in ("train", "val") if part == "trainval" else (part,):
            folder = root / "leftImg8bit" / one
            found = sorted(folder.glob("*/*_leftImg8bit.png"))
            if not found:
                raise DataError(
                    f"{folder}: no */*_leftImg8bit.png here; give the folder that holds "
                    "leftImg8bit and gtFine, e.g. --data cityscapes=DATA/cityscapes"
                )
            kind = "gtCoarse" if one == "train_extra" else "gtFine"
            for image in found:
                stem = image.name.removesuffix("_leftImg8bit.png")
                name = f"{stem}_{kind}_labelTrainIds.png"
                images.append(image)
                masks.append(root / kind / one / image.parent.name / name)
    return Listing(
        root=root,
        split=split,
        ids=tuple(path.name.removesuffix("_leftImg8bit.png") for path in images),
        images=tuple(images),
        masks=tuple(masks),
        classes=CITYSCAPES_CLASSES,
        source_classes=CITYSCAPES_CLASSES,
    )


def folders(root: Path, split: str) -> Folders:
    """The images of one ImageFolder split: `root/split/<class>/*`."""
    home = root / split
    names = sorted(p.name for p in home.iterdir() if p.is_dir()) if home.is_dir() else []
    pairs = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((home / name).iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not pairs:
        raise DataError(
            f"{home}: no class folders with images here; give an ImageFolder, "
            "e.g. --data imagenet=DATA/imagenet"
        )
    images, labels = zip(*pairs, strict=True)
    return Folders(root=root, split=split, images=images, labels=labels, classes=tuple(names))
