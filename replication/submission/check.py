"""An archive of predictions, read back and checked as the test server would."""

import io
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from replication.data.layouts import Listing
from replication.data.prepare.meter import Meter
from replication.errors import DataError
from replication.submission.servers import Server

# What a cut or overwritten archive raises.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
)
# Stray values of one file that are named.
SHOWN_VALUES = 5


def faults(archive: Path, server: Server, listing: Listing, meter: Meter) -> list[str]:
    """Everything for which the server would refuse or mark down the archive, one line each.

    Asked: a prediction for every image of the list and nothing else, at its place, as a PNG of one
    channel, of the size of the image on disk, with no value but the classes'. Raises DataError
    where the archive or an image of the set cannot be opened.
    """
    if not archive.is_file():
        raise DataError(f"{archive}: no such file")
    images = dict(zip(listing.ids, listing.images, strict=True))
    allowed = server.allowed(listing.classes)
    seen: dict[str, str] = {}
    problems: list[str] = []
    try:
        for name, content in members(archive, server):
            id_ = server.id_of(PurePosixPath(name).name)
            if content is None:
                problems.append(f"{name}: a link or a device; only files are taken")
            elif id_ not in images:
                problems.append(f"{name}: stands for no image of the list {listing.split}")
            elif server.folder is not None and PurePosixPath(name).parent.as_posix() != (
                server.folder
            ):
                seen.setdefault(id_, name)
                problems.append(f"{name}: wrong folder; it must be {server.member(id_)}")
            elif id_ in seen:
                other = "" if seen[id_] == name else f", after {seen[id_]}"
                problems.append(f"{name}: a second prediction for {id_}{other}")
            else:
                seen[id_] = name
                found = _picture_faults(content, _size(images[id_]), allowed)
                problems += [f"{name}: {one}" for one in found]
                meter.to(len(seen))
    except DAMAGED as error:
        # What would follow cannot be told from what is missing.
        kind = " or ".join(server.archives)
        told = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        problems.append(f"{archive}: damaged, or no {kind} ({told})")
        return problems
    return problems + [
        f"{server.member(id_)}: missing; the list {listing.split} has {id_}"
        for id_ in images
        if id_ not in seen
    ]


def members(archive: Path, server: Server) -> Iterator[tuple[str, bytes | None]]:
    """Path and content of everything but folders, in order; None for what is not a plain file.

    Nothing is unpacked to the disk. Raises what `DAMAGED` lists.
    """
    if server.archives[0] == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if not entry.is_dir():
                    link = stat.S_ISLNK(entry.external_attr >> 16)
                    yield _path(entry.filename), None if link else _unzipped(opened, entry)
        return
    with tarfile.open(archive, "r:*") as opened_tar:
        for member in opened_tar:
            file = opened_tar.extractfile(member) if member.isreg() else None
            if not member.isdir():
                yield _path(member.name), None if file is None else file.read()
        # The end of the compressed data carries its checksum; tar alone does not read so far.
        while opened_tar.fileobj is not None and opened_tar.fileobj.read(1 << 20):
            pass


def _unzipped(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    try:
        return opened.read(entry)
    except RuntimeError as error:  # encrypted, or compressed in a way that is not known here
        raise zipfile.BadZipFile(f"{entry.filename}: {error}") from None


def _path(name: str) -> str:
    """As it lies once unpacked: ./results/… is results/…"""
    return posixpath.normpath(name)


def _size(image: Path) -> tuple[int, int]:
    """Width and height from the file's header."""
    try:
        with Image.open(image) as file:
            return file.size
    except UNREADABLE as error:
        raise DataError(f"{image}: cannot be read ({error})") from None


def _picture_faults(content: bytes, size: tuple[int, int], allowed: Collection[int]) -> list[str]:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            mode, pixels = image.mode, np.asarray(image)
    except UNREADABLE as error:
        return [f"no readable PNG ({error})"]
    if mode not in ("P", "L"):
        return [f"mode {mode}; a prediction must be a palette or grey PNG of 8 bits"]
    problems = []
    if pixels.shape != size[::-1]:
        height, width = pixels.shape
        problems.append(f"{width}x{height} pixels; its image has {size[0]}x{size[1]}")
    values = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256))
    stray = [str(value) for value in values if value not in allowed]
    if stray:
        more = f" and {len(stray) - SHOWN_VALUES} more" if len(stray) > SHOWN_VALUES else ""
        several = "values" if len(stray) > 1 else "value"
        shown = ", ".join(stray[:SHOWN_VALUES])
        problems.append(f"{several} {shown}{more}; allowed are {_ranges(allowed)}")
    return problems


def _ranges(values: Collection[int]) -> str:
    """0, 1, 2, 5 as `0 to 2, 5`."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and parts[-1][-1] == value - 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ", ".join(f"{p[0]} to {p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
