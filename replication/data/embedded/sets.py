"""The generated sets on disk, in the official layouts, each with a manifest of its contents."""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from replication.data.embedded import scenes, streets
from replication.data.embedded.recipe import VERSION, Recipe, Role, fingerprint, relevant
from replication.data.embedded.shapes import Generator
from replication.data.pool import in_order
from replication.errors import DataError

MANIFEST = "embedded.json"
Progress = Callable[[int, int], None]

VOC_YEAR = Path("VOCdevkit") / "VOC2012"
# Starting a process takes about as long as drawing so many pictures.
_FEW = 500

# One block of numbers a split: ids are unique over the set, as in VOC.
VOC_BLOCKS = {"train": 0, "trainaug": 100_000, "val": 200_000, "dev": 300_000, "test": 400_000}
CITIES = {
    "train": ("aachen", "bochum"),
    "val": ("frankfurt", "lindau"),
    "test": ("berlin", "bonn"),
    "train_extra": ("augsburg", "bayreuth"),
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished set: its folder, its manifest, and whether this call made it."""

    home: Path
    manifest: dict[str, Any]
    new: bool


def home(recipe: Recipe, role: Role, cache: Path) -> Path:
    """Return the folder in which the set lies, or will."""
    return Path(cache) / f"{recipe.name}-{fingerprint(recipe, role)[:12]}" / role


def ensure(
    recipe: Recipe,
    role: Role,
    cache: Path,
    progress: Progress | None = None,
    *,
    processes: int = 1,
) -> Path:
    """Make the set under `cache` unless it is there; return the folder that a reader takes.

    `progress(done, total)` counts images. A large set is drawn by so many `processes`, 0 for as
    many as there are cores: fresh ones, so that a script which asks for several must keep its own
    work under `if __name__ == "__main__"`. Several processes may ask at once: one makes the set,
    the others wait. The set is written beside its place and renamed into it, so that a half-made
    one is never read.
    """
    return reader_root(role, make(recipe, role, cache, progress, processes=processes).home)


def reader_root(role: Role, folder: Path) -> Path:
    """Return what a reader of the role is given: the VOCdevkit, or the set's own folder."""
    return folder / "VOCdevkit" if role in ("voc", "coco") else folder


def make(
    recipe: Recipe,
    role: Role,
    cache: Path,
    progress: Progress | None = None,
    *,
    processes: int = 1,
) -> Made:
    """As `ensure`, but return the set's folder and manifest."""
    target = home(recipe, role, cache)
    # The common case, many processes starting at once on a finished set, takes no lock.
    if (manifest := _finished(recipe, role, target)) is not None:
        return Made(home=target, manifest=manifest, new=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f"{role}.lock"):
        if (manifest := _finished(recipe, role, target)) is not None:
            return Made(home=target, manifest=manifest, new=False)
        # What lies here unfinished is of a process that died: the lock is ours.
        for remains in (target, *target.parent.glob(f".{role}-*")):
            shutil.rmtree(remains, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{role}-", dir=target.parent))
        try:
            draft.chmod(0o755)  # mkdtemp's folder is for its owner only
            _write(recipe, role, draft, progress, processes)
            manifest = {
                "recipe": recipe.name,
                "role": role,
                "version": VERSION,
                "fingerprint": fingerprint(recipe, role),
                "counts": _counts(recipe, role),
                "sha256": contents_hash(draft),
                "settings": relevant(recipe, role),
            }
            written = json.dumps(manifest, indent=1)
            (draft / MANIFEST).write_text(written + "\n")
            os.replace(draft, target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    # As a later reader gets it: tuples have become lists.
    return Made(home=target, manifest=json.loads(written), new=True)


def verify(recipe: Recipe, role: Role, cache: Path) -> dict[str, Any]:
    """Return the manifest of a finished set, after comparing every file's content with its hash."""
    target = home(recipe, role, cache)
    manifest = _finished(recipe, role, target)
    if manifest is None:
        raise DataError(f"{target}: no finished set here; make it: python -m data_scripts.embedded")
    if (found := contents_hash(target)) != manifest["sha256"]:
        raise DataError(
            f"{target}: files have changed since the set was made (sha256 {found[:12]}, "
            f"the manifest says {manifest['sha256'][:12]}); delete the folder to make it anew"
        )
    return manifest


def contents_hash(folder: Path) -> str:
    """Return a sha256 over the paths and contents of all files but the manifest, in order."""
    digest = hashlib.sha256()
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for name in sorted(names):
        if name != MANIFEST:
            content = (folder / name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def image_rng(recipe: Recipe, role: Role, split: str, index: int) -> Generator:
    """Return the generator of one image: independent of the others, and of how many there are."""
    key = (zlib.crc32(role.encode()), zlib.crc32(split.encode()), index)
    return np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=key))


def _finished(recipe: Recipe, role: Role, target: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((target / MANIFEST).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    whole = isinstance(manifest, dict) and manifest.get("fingerprint") == fingerprint(recipe, role)
    return manifest if whole else None


def _counts(recipe: Recipe, role: Role) -> dict[str, int]:
    return dict(getattr(recipe, role))


def _write(
    recipe: Recipe, role: Role, folder: Path, progress: Progress | None, processes: int
) -> None:
    """Every picture of the set, then its lists; `progress` is told of each picture."""
    pictures = [(split, i) for split, count in getattr(recipe, role) for i in range(count)]
    one = partial(_WRITERS[role], recipe, folder)
    with closing(in_order(one, pictures, few=_FEW, processes=processes)) as written:
        for done, _ in enumerate(written, 1):
            if progress is not None:
                progress(done, len(pictures))
    if role == "voc":
        lists = {split: [_voc_name(split, i) for i in range(n)] for split, n in recipe.voc}
        # The extras come with coarser masks, and only ever beside the official ones.
        lists["trainaug"] = lists["train"] + lists["trainaug"]
        lists["trainval"] = lists["train"] + lists["val"]
        _save_lists(folder / VOC_YEAR, scenes.VOC_CLASSES, lists)
    elif role == "coco":
        lists = {split: [_coco_name(split, i) for i in range(n)] for split, n in recipe.coco}
        _save_lists(folder / VOC_YEAR, scenes.COCO_CLASSES, lists)


def _voc_name(split: str, index: int) -> str:
    return f"2012_{VOC_BLOCKS[split] + index:06}"


def _coco_name(split: str, index: int) -> str:
    return f"COCO_{split}2014_{index:012}"


def _write_voc(recipe: Recipe, folder: Path, picture: tuple[str, int]) -> None:
    split, i = picture
    extra = split == "trainaug"
    rng = image_rng(recipe, "voc", split, i)
    pair = scenes.scene(recipe, scenes.VOC_CLASSES, i, "coarse" if extra else "ringed", rng)
    masks = "SegmentationClassAug" if extra else "SegmentationClass"
    _save_pair(*pair, folder / VOC_YEAR, masks, _voc_name(split, i))


def _write_coco(recipe: Recipe, folder: Path, picture: tuple[str, int]) -> None:
    split, i = picture
    rng = image_rng(recipe, "coco", split, i)
    pair = scenes.scene(recipe, scenes.COCO_CLASSES, i, "exact", rng)
    _save_pair(*pair, folder / VOC_YEAR, "SegmentationClass", _coco_name(split, i))


def _write_cityscapes(recipe: Recipe, folder: Path, picture: tuple[str, int]) -> None:
    split, i = picture
    kind = "gtCoarse" if split == "train_extra" else "gtFine"
    rng = image_rng(recipe, "cityscapes", split, i)
    image, labels = streets.street(recipe, rng, coarse=kind == "gtCoarse")
    city = CITIES[split][i % 2]
    stem = f"{city}_{i // 2:06}_000000"
    for tree, suffix, content in (
        ("leftImg8bit", "leftImg8bit", image),
        (kind, f"{kind}_labelTrainIds", Image.fromarray(labels)),
    ):
        place = folder / tree / split / city
        place.mkdir(parents=True, exist_ok=True)
        # Noise does not compress: more effort would cost time for nothing.
        content.save(place / f"{stem}_{suffix}.png", compress_level=1)


def _write_imagenet(recipe: Recipe, folder: Path, picture: tuple[str, int]) -> None:
    split, i = picture
    classes = scenes.crop_classes(recipe.scene.pairs)
    label = i % len(classes)
    image = scenes.crop(recipe, label, image_rng(recipe, "imagenet", split, i))
    place = folder / split / classes[label]
    place.mkdir(parents=True, exist_ok=True)
    _save_jpeg(image, place / f"{i:06}.jpg")


_WRITERS: dict[str, Callable[[Recipe, Path, tuple[str, int]], None]] = {
    "voc": _write_voc,
    "coco": _write_coco,
    "cityscapes": _write_cityscapes,
    "imagenet": _write_imagenet,
}


def _save_jpeg(image: Image.Image, path: Path) -> None:
    # Full colour resolution: halved, it would smear parts that are two pixels wide.
    image.save(path, quality=92, subsampling=0)


def _save_pair(
    image: Image.Image, labels: NDArray[np.uint8], year: Path, of_masks: str, name: str
) -> None:
    images, masks = year / "JPEGImages", year / of_masks
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    _save_jpeg(image, images / f"{name}.jpg")
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(PALETTE)
    mask.save(masks / f"{name}.png")


def _save_lists(year: Path, classes: tuple[str, ...], lists: dict[str, list[str]]) -> None:
    place = year / "ImageSets" / "Segmentation"
    place.mkdir(parents=True)
    for split, names in lists.items():
        (place / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    (year / "classes.txt").write_text("".join(f"{name}\n" for name in classes))


def voc_palette() -> list[int]:
    """Return VOC's colour map as 256 RGB triples in a row: bits of the index, dealt to channels."""
    palette = []
    for index in range(256):
        rgb = [0, 0, 0]
        for bit in range(8):
            rgb = [c | ((index >> (3 * bit + i) & 1) << (7 - bit)) for i, c in enumerate(rgb)]
        palette += rgb
    return palette


PALETTE = voc_palette()
