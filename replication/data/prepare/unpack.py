"""Unpack an archive of the network without trusting it.

Only regular files that the caller wants are made, each under the path that the caller gives it;
links, devices and paths that leave the target are refused, and so is an archive that ends early.
"""

import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from rich.console import Console

from replication.data.prepare.meter import Meter
from replication.errors import DataError

BLOCK = 1 << 20
# What tarfile and zipfile raise for an archive that is not whole, or not one.
BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError,
    NotImplementedError,  # zipfile, of a compression that it does not know
)  # fmt: skip
Wanted = Callable[[str], str | None]


def unpack(archive: Path, target: Path, *, wanted: Wanted, console: Console) -> int:
    """Unpack a tar (compressed or not) or zip file into `target`; the number of files made.

    `wanted(member)` gives the path under `target`, or None to skip the member; a leading `./` of
    the member's name is taken off first. What is skipped is not looked at, whatever it is.

    Raises DataError for an archive that is damaged, or wants to write anything but regular files
    inside the target. What was made by then stays: give a folder that is thrown away on errors.
    """
    made = 0
    with _readable(archive), Meter(console, f"unpacking {archive.name}", unit="bytes") as meter:
        meter.of(archive.stat().st_size)
        # Not by the name: a zip called .tar is a zip. A tar may hold a zip, so tar goes first.
        for name, kind, content, position in (
            _tar_members(archive) if tarfile.is_tarfile(archive) else _zip_members(archive)
        ):
            meter.to(position)
            path = None if kind == "folder" else wanted(name.removeprefix("./"))
            if path is None:
                continue
            if kind != "file":
                raise DataError(f"{archive}: member {name!r} is a {kind}; refused")
            _write(content, _inside(target, path, f"{archive}: member {name!r}"))
            made += 1
    return made


def members(archive: Path) -> Iterator[str]:
    """The names of an archive's members in order, without a leading `./`; nothing is unpacked."""
    with _readable(archive):
        listed = _tar_members(archive) if tarfile.is_tarfile(archive) else _zip_members(archive)
        for name, *_ in listed:
            yield name.removeprefix("./")


Member = tuple[str, str, Callable[[], IO[bytes]], int]  # name, kind, content, bytes read so far


def _tar_members(archive: Path) -> Iterator[Member]:
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            kind = "device"
            if member.isreg():
                kind = "file"
            elif member.isdir():
                kind = "folder"
            elif member.issym() or member.islnk():
                kind = "link"

            def content(member: tarfile.TarInfo = member) -> IO[bytes]:
                file = tar.extractfile(member)
                assert file is not None, "a regular file has content"
                return file

            yield member.name, kind, content, raw.tell()
        _check_end(archive, tar)


def _check_end(archive: Path, tar: tarfile.TarFile) -> None:
    """A tar ends with a block of zeros; `tarfile` takes any broken header for the end."""
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{archive}: damaged or cut short after {tar.offset} bytes; get it anew")
    while file.read(BLOCK):  # To the end, where a compressed file has its checksum.
        pass


def _zip_members(archive: Path) -> Iterator[Member]:
    position = 0
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            kind = "file"
            if info.is_dir():
                kind = "folder"
            elif stat.S_ISLNK(mode):
                kind = "link"
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                kind = "device"
            elif info.flag_bits & 1:
                kind = "encrypted file"

            def content(info: zipfile.ZipInfo = info) -> IO[bytes]:
                return file.open(info)

            yield info.filename, kind, content, position
            position += info.compress_size


def _inside(target: Path, path: str, where: str) -> Path:
    """The place of `path` in `target`. Raises DataError if it is not in there."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise DataError(f"{where} would be written outside the target; refused")
    place = target.joinpath(*parts)
    # A link that lies in the target already could lead out as well.
    if not place.parent.resolve().is_relative_to(target.resolve()) or place.is_dir():
        raise DataError(f"{where} cannot be written to {place}; refused")
    return place


def _write(content: Callable[[], IO[bytes]], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)  # A later member of the same name wins, and no link is followed.
    try:
        with content() as source, place.open("xb") as out:
            shutil.copyfileobj(source, out, BLOCK)
    except OSError as error:
        place.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise DataError(f"{place}: the disk is full; free some space and run again") from None
        raise
    except BaseException:
        place.unlink(missing_ok=True)
        raise


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Say in one line what is wrong with the archive, or with the disk."""
    try:
        yield
    except BROKEN as error:
        raise DataError(
            f"{archive}: damaged, cut short, or not a tar or zip file ({error}); get it anew"
        ) from None
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(
            f"{archive}: holds both a file and a folder called {error.filename}; refused"
        ) from None
