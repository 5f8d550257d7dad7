"""Decoded sets: every image and mask checked and decoded once, then read through memory maps.

The cache is three flat files (pixels, masks, index) per split, keyed by a hash of paths, sizes and
modification times; it is written beside and renamed into place, so a half-made one is never read.
Several processes share its pages.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from replication.data.layouts import IGNORE_INDEX, Folders, Listing
from replication.errors import DataError

FORMAT = 1
SHOWN_PROBLEMS = 20
Progress = Callable[[int, int], None]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A split in memory maps. Image i is (h, w, 3) uint8, mask i (h, w) uint8 with 255 void."""

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    sizes: NDArray[np.int64]  # (n, 2): h, w
    offsets: NDArray[np.int64]  # (n,): in pixels
    pixels: Bytes  # (total, 3)
    labels: Bytes  # (total,)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def uniform(self) -> bool:
        """Whether every image has the same size."""
        return bool((self.sizes == self.sizes[0]).all())

    def image(self, i: int) -> Bytes:
        h, w = self.sizes[i]
        return self.pixels[self.offsets[i] : self.offsets[i] + h * w].reshape(h, w, 3)

    def mask(self, i: int) -> Bytes:
        h, w = self.sizes[i]
        return self.labels[self.offsets[i] : self.offsets[i] + h * w].reshape(h, w)

    def with_any(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Indices of the images that contain a pixel of any of the named classes.

        Raises DataError for a name that is not one of the set's classes.
        """
        unknown = [name for name in names if name not in self.classes]
        if unknown:
            raise DataError(
                f"duplicate: no class {unknown[0]!r} in this set; it has {', '.join(self.classes)}"
            )
        wanted = [self.classes.index(name) for name in names]
        hits = [i for i in range(len(self)) if np.isin(self.mask(i), wanted).any()]
        return np.array(hits, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A classification split: images (n, h, w, 3) uint8 and class indices (n,)."""

    images: Bytes
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def decode(listing: Listing, cache: Path, progress: Progress | None = None) -> Decoded:
    """Check and decode a split, or map what an earlier call decoded.

    Raises DataError naming every bad file of the split: missing, unreadable or truncated, of
    another size than its mask, of a wrong mode, or with mask values outside the classes.
    """

    def build(folder: Path) -> None:
        _decode_into(listing, folder, progress)

    folder = _ensure(cache, _key(listing.images + listing.masks, listing.remap), build)
    index = np.load(folder / "index.npy")
    return Decoded(
        ids=listing.ids,
        classes=listing.classes,
        sizes=index[:, 1:],
        offsets=index[:, 0],
        pixels=np.load(folder / "pixels.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
    )


def decode_folders(folders: Folders, cache: Path, progress: Progress | None = None) -> Labelled:
    """Decode a classification split whose images all have one size."""

    def build(folder: Path) -> None:
        images: list[Bytes] = []
        problems: list[str] = []
        for done, path in enumerate(folders.images):
            image, problem = _read(path, "RGB")
            if image is None:
                problems.append(problem)
            elif images and image.shape != images[0].shape:
                problems.append(f"{path}: {image.shape} differs from {images[0].shape} before it")
            else:
                images.append(image)
            if progress:
                progress(done + 1, len(folders.images))
        _raise(problems)
        np.save(folder / "images.npy", np.stack(images))

    folder = _ensure(cache, _key(folders.images, folders.labels), build)
    return Labelled(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.array(folders.labels, dtype=np.int64),
        classes=folders.classes,
    )


def check(listing: Listing) -> list[str]:
    """One line for every problem of a split's files; nothing is written."""
    problems = []
    for image, mask in zip(listing.images, listing.masks, strict=True):
        problems += _pair(image, mask, listing)[2]
    return problems


def _decode_into(listing: Listing, folder: Path, progress: Progress | None) -> None:
    problems: list[str] = []
    index, offset = [], 0
    with (folder / "pixels.raw").open("wb") as pixels, (folder / "labels.raw").open("wb") as labels:
        for done, (image, mask) in enumerate(zip(listing.images, listing.masks, strict=True)):
            image_hwc, mask_hw, found = _pair(image, mask, listing)
            problems += found
            if image_hwc is not None and mask_hw is not None and not problems:
                pixels.write(image_hwc.tobytes())
                labels.write(mask_hw.tobytes())
                index.append((offset, *mask_hw.shape))
                offset += mask_hw.size
            if progress:
                progress(done + 1, len(listing.images))
    _raise(problems)
    _raw_to_npy(folder / "pixels.raw", folder / "pixels.npy", (offset, 3))
    _raw_to_npy(folder / "labels.raw", folder / "labels.npy", (offset,))
    np.save(folder / "index.npy", np.array(index, dtype=np.int64))


def _raw_to_npy(raw: Path, target: Path, shape: tuple[int, ...]) -> None:
    """Turn raw bytes into a .npy that can be mapped, without holding them in memory."""
    with target.open("wb") as out, raw.open("rb") as source:
        np.lib.format.write_array_header_1_0(
            out, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        shutil.copyfileobj(source, out, 1 << 24)
    raw.unlink()


def _pair(
    image: Path, mask: Path, listing: Listing
) -> tuple[Bytes | None, Bytes | None, list[str]]:
    image_hwc, image_problem = _read(image, "RGB")
    mask_hw, mask_problem = _read(mask, "index")
    problems = [problem for problem in (image_problem, mask_problem) if problem]
    if image_hwc is None or mask_hw is None:
        return None, None, problems
    if image_hwc.shape[:2] != mask_hw.shape:
        (h, w), (mask_h, mask_w) = image_hwc.shape[:2], mask_hw.shape
        return None, None, [f"{mask}: the mask is {mask_w}x{mask_h}, its image {image} is {w}x{h}"]
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[: len(listing.remap)] = listing.remap
    values = np.flatnonzero(np.bincount(mask_hw.ravel(), minlength=256))
    stray = [int(v) for v in values if v >= len(listing.remap) and v != IGNORE_INDEX]
    if stray:
        top = len(listing.remap) - 1
        return None, None, [f"{mask}: value {stray[0]}; allowed are 0 to {top} and {IGNORE_INDEX}"]
    return image_hwc, table[mask_hw], []


def _read(path: Path, kind: str) -> tuple[Bytes | None, str]:
    """Decode one file; ("RGB": three channels, "index": one channel of class indices)."""
    try:
        with Image.open(path) as file:
            if kind == "index" and file.mode not in ("P", "L"):
                return None, f"{path}: mode {file.mode}; a mask must be a palette or grey PNG"
            return np.array(file if kind == "index" else file.convert("RGB")), ""
    except FileNotFoundError:
        return None, f"{path}: missing"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        return None, f"{path}: cannot be read ({error})"


def _raise(problems: Sequence[str]) -> None:
    if problems:
        shown = list(problems[:SHOWN_PROBLEMS])
        if len(problems) > SHOWN_PROBLEMS:
            shown.append(f"and {len(problems) - SHOWN_PROBLEMS} more files with problems")
        raise DataError("\n".join(shown))


def _key(paths: Sequence[Path], values: Sequence[int]) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, list(values)]).encode())
    for path in paths:
        try:
            stat = path.stat()
            digest.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        except FileNotFoundError:
            digest.update(f"{path} missing\n".encode())
    return digest.hexdigest()[:16]


def _ensure(cache: Path, key: str, build: Callable[[Path], None]) -> Path:
    target = cache / "decoded" / key
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            folder = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=target.parent))
            try:
                build(folder)
                os.replace(folder, target)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return target
