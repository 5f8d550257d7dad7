"""A split of pictures, read through memory maps (decoded once) or file by file.

The cache is three flat files (pixels, masks, index) per split, keyed by a hash of paths, sizes and
modification times; it is written beside and renamed into place, so a half-made one is never read.
Several processes share its pages.
"""

import hashlib
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rich.filesize import decimal

from replication.data.layouts import IGNORE_INDEX, Folders, Listing
from replication.data.reading import (
    Bytes,
    Progress,
    check,
    decoded_bytes,
    raise_problems,
    read_image,
    read_mask,
    read_pair,
)
from replication.errors import DataError

FORMAT = 1
# Told what a split will take on disk, once it is known and before it is written.
Announce = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Pictures(ABC):
    """A split: image i is (h, w, 3) uint8, mask i (h, w) uint8 class indices with 255 void."""

    split: str
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    sizes: NDArray[np.int64]  # (n, 2): h, w
    # False for a test set: its masks are void everywhere.
    labelled: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def uniform(self) -> bool:
        """Whether every image has the same size."""
        return bool((self.sizes == self.sizes[0]).all())

    @abstractmethod
    def image(self, i: int) -> Bytes: ...

    @abstractmethod
    def mask(self, i: int) -> Bytes: ...

    def with_any(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Indices of the images that contain a pixel of any of the named classes.

        Raises DataError for a name that is not one of the set's classes.
        """
        unknown = [name for name in names if name not in self.classes]
        if unknown:
            raise DataError(
                f"duplicate: no class {unknown[0]!r} in this set; it has {', '.join(self.classes)}"
            )
        if not names:
            return np.array([], dtype=np.int64)
        wanted = [self.classes.index(name) for name in names]
        hits = [i for i in range(len(self)) if np.isin(self.mask(i), wanted).any()]
        return np.array(hits, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Decoded(Pictures):
    """A split in memory maps."""

    offsets: NDArray[np.int64]  # (n,): in pixels
    pixels: Bytes  # (total, 3)
    labels: Bytes  # (total,)

    def image(self, i: int) -> Bytes:
        h, w = self.sizes[i]
        return self.pixels[self.offsets[i] : self.offsets[i] + h * w].reshape(h, w, 3)

    def mask(self, i: int) -> Bytes:
        h, w = self.sizes[i]
        return self.labels[self.offsets[i] : self.offsets[i] + h * w].reshape(h, w)


@dataclass(frozen=True, kw_only=True)
class Files(Pictures):
    """A split whose files are decoded each time they are asked for: slow, and nothing on disk."""

    listing: Listing

    def image(self, i: int) -> Bytes:
        image_hwc, problem = read_image(self.listing.images[i])
        raise_problems([problem] if problem else [])
        assert image_hwc is not None
        return image_hwc

    def mask(self, i: int) -> Bytes:
        if not self.labelled:
            return np.full(self.sizes[i], IGNORE_INDEX, np.uint8)
        return read_mask(self.listing, i)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A classification split: images (n, h, w, 3) uint8 and class indices (n,)."""

    images: Bytes
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def decode(
    listing: Listing,
    cache: Path,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Decoded:
    """Check and decode a split, or map what an earlier call decoded.

    Raises DataError naming every bad file of the split: missing, unreadable or truncated, of
    another size than its mask, of a wrong mode, or with mask values outside the classes; or if the
    decoded split would not fit on the disk.
    """

    def build(folder: Path) -> None:
        _check_room(listing, folder, announce)
        _decode_into(listing, folder, progress)

    folder = _ensure(cache / "decoded", _key(listing.images + listing.masks, listing.remap), build)
    index = np.load(folder / "index.npy")
    return Decoded(
        split=listing.split,
        ids=listing.ids,
        classes=listing.classes,
        labelled=listing.labelled,
        sizes=index[:, 1:],
        offsets=index[:, 0],
        # Plain arrays of the maps' memory: a slice of a `memmap` takes several times as long.
        pixels=np.asarray(np.load(folder / "pixels.npy", mmap_mode="r")),
        labels=np.asarray(np.load(folder / "labels.npy", mmap_mode="r")),
    )


def undecoded(listing: Listing, cache: Path, progress: Progress | None = None) -> Files:
    """Check every file of a split, and read them from their files ever after.

    Only the sizes are kept, as a sign that the files were checked. Raises DataError as `decode`.
    """

    def build(folder: Path) -> None:
        np.save(folder / "sizes.npy", check(listing, progress))

    folder = _ensure(cache / "checked", _key(listing.images + listing.masks, listing.remap), build)
    return Files(
        split=listing.split,
        ids=listing.ids,
        classes=listing.classes,
        labelled=listing.labelled,
        sizes=np.load(folder / "sizes.npy"),
        listing=listing,
    )


def decode_folders(folders: Folders, cache: Path, progress: Progress | None = None) -> Labelled:
    """Decode a classification split whose images all have one size."""

    def build(folder: Path) -> None:
        images: list[Bytes] = []
        problems: list[str] = []
        for done, path in enumerate(folders.images):
            image, problem = read_image(path)
            if image is None:
                problems.append(problem)
            elif images and image.shape != images[0].shape:
                problems.append(f"{path}: {image.shape} differs from {images[0].shape} before it")
            else:
                images.append(image)
            if progress:
                progress(done + 1, len(folders.images))
        raise_problems(problems)
        np.save(folder / "images.npy", np.stack(images))

    folder = _ensure(cache / "decoded", _key(folders.images, folders.labels), build)
    return Labelled(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.array(folders.labels, dtype=np.int64),
        classes=folders.classes,
    )


def _check_room(listing: Listing, folder: Path, announce: Announce | None) -> None:
    wanted, free = decoded_bytes(listing), shutil.disk_usage(folder).free
    size = f"{len(listing.ids):,} pictures, {decimal(wanted)} decoded, in {folder.parent}"
    if wanted > free:
        raise DataError(
            f"{listing.root}: split {listing.split}: {size}, where {decimal(free)} are free; "
            "set REPLICATION_DATA to another folder, or give --no-cache to read the files"
        )
    if announce:
        announce(size)


def _decode_into(listing: Listing, folder: Path, progress: Progress | None) -> None:
    problems: list[str] = []
    index, offset = [], 0
    with (folder / "pixels.raw").open("wb") as pixels, (folder / "labels.raw").open("wb") as labels:
        for i in range(len(listing.ids)):
            image_hwc, mask_hw, found = read_pair(listing, i)
            problems += found
            if image_hwc is not None and mask_hw is not None and not problems:
                pixels.write(image_hwc.tobytes())
                labels.write(mask_hw.tobytes())
                index.append((offset, *mask_hw.shape))
                offset += mask_hw.size
            if progress:
                progress(i + 1, len(listing.ids))
    raise_problems(problems)
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


def _key(paths: Sequence[Path], values: Sequence[int]) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, list(values)]).encode())
    for path in paths:
        try:
            stat = path.stat()
            digest.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        except FileNotFoundError:
            digest.update(f"{path} missing\n".encode())
    return digest.hexdigest()[:16]


def _ensure(home: Path, key: str, build: Callable[[Path], None]) -> Path:
    target = home / key
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
