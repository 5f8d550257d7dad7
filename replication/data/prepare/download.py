"""One official archive on disk: downloaded, gone on with after a break, and checked.

What is downloaded lies in NAME.part until it is whole; only a file that has the size and checksum
that its publisher states is called NAME.
"""

import errno
import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from rich.console import Console
from rich.filesize import decimal

from replication.data.prepare.meter import Meter
from replication.errors import DataError

BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One official file, with what its publisher (or a table that we name) states of it.

    `url` is empty where the file needs a login; `login` then says where and how to get it.
    `sha256` may be the beginning of the sum only: torch hub's file names hold eight digits of it.
    """

    url: str
    name: str
    size: int | None = None  # bytes
    md5: str | None = None
    sha256: str | None = None
    login: str = ""

    @property
    def checked(self) -> bool:
        """Whether a checksum is known."""
        return bool(self.md5 or self.sha256)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try: `tries` in a row that bring nothing new, `pause` doubling between them."""

    tries: int = 5
    pause: float = 0.5  # seconds
    timeout: float = 60.0  # seconds without a byte


PATIENT = Patience()


class _Broken(Exception):
    """A transfer that ended early; worth another try."""


def get(
    archive: Archive,
    folder: Path,
    *,
    given: Path | None = None,
    console: Console,
    patience: Patience = PATIENT,
) -> Path:
    """The archive, checked: the user's own file `given`, or folder/NAME, downloaded if not there.

    An earlier download is gone on with. If the server's file has changed in between, the checksum
    tells; where none is published, the archive's own checksums do when it is unpacked.

    Raises DataError if it cannot be had or is not what its publisher states. A wrong download is
    removed, the user's file never.
    """
    if given is not None:
        if not given.is_file():
            raise DataError(f"{given}: no such file (--archive)")
        _check(archive, given, console, "this is not the official file, or not all of it")
        return given
    target = folder / archive.name
    if target.is_file():
        _check(archive, target, console, "remove it, and run again to get it anew")
        return target
    if not archive.url:
        raise DataError(f"{archive.name}: {archive.login}; then give it with --archive FILE")
    part = folder / f"{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        console.print(f"{archive.url} → {target}", markup=False, highlight=False, soft_wrap=True)
        _download(archive, part, console, patience)
        try:
            _check(archive, part, console, "removed; run again to get it anew")
        except DataError:
            part.unlink()
            raise
        os.replace(part, target)
    except OSError as error:
        raise DataError(f"{part}: cannot be written ({error.strerror or error})") from None
    return target


def checksum(path: Path, algorithm: str, console: Console) -> str:
    """The hexadecimal sum of a file, read in blocks."""
    digest, done = hashlib.new(algorithm, usedforsecurity=False), 0
    with path.open("rb") as file, Meter(console, f"checking {path.name}", unit="bytes") as meter:
        meter.of(path.stat().st_size)
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            meter.to(done)
    return digest.hexdigest()


def _check(archive: Archive, path: Path, console: Console, advice: str) -> None:
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        raise DataError(f"{path}: has {size} bytes, {archive.size} expected; {advice}")
    for algorithm, expected in (("md5", archive.md5), ("sha256", archive.sha256)):
        if expected is None:
            continue
        found = checksum(path, algorithm, console)
        if not found.startswith(expected.lower()):
            raise DataError(f"{path}: {algorithm} is {found}, {expected} expected; {advice}")


def _download(archive: Archive, part: Path, console: Console, patience: Patience) -> None:
    """Fill `part` to the end of the file, over as many connections as it takes."""
    part.touch()
    furthest, failures = part.stat().st_size, 0
    with requests.Session() as session, Meter(console, archive.name, unit="bytes") as meter:
        while True:
            try:
                _transfer(session, archive, part, meter, patience.timeout)
                return
            except (_Broken, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                have = part.stat().st_size
                # A line that breaks every now and then is fine as long as it brings us further.
                failures = 0 if have > furthest else failures + 1
                furthest = max(furthest, have)
                if failures >= patience.tries:
                    raise DataError(
                        f"{archive.url}: {_reason(error)}; {decimal(have)} are kept in {part}: run "
                        "again to go on, or get the file otherwise and give it with --archive FILE"
                    ) from None
            time.sleep(patience.pause * 2 ** (failures - 1) if failures else 0)


def _transfer(
    session: requests.Session, archive: Archive, part: Path, meter: Meter, timeout: float
) -> None:
    """One connection: append to `part` what it lacks. Raises _Broken if that is not all."""
    have = part.stat().st_size
    if archive.size is not None and have == archive.size:
        return
    # Bytes as they are on the server: some compress on the way, or unpack a .tgz, unless told.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with session.get(archive.url, headers=headers, stream=True, timeout=timeout) as response:
        status = response.status_code
        first, total = _content_range(response.headers.get("Content-Range", ""))
        if status == 416 and have and (total == have or (total is None and archive.checked)):
            return  # Nothing after what we have: whole, or the checksum will tell.
        if status == 416 or (status == 206 and first != have):
            _empty(part)
            raise _Broken("the server cannot go on where the download broke off")
        if 400 <= status < 500 and status not in (408, 429):
            raise DataError(
                f"{archive.url}: {status} {response.reason}; get the file otherwise and give it "
                "with --archive FILE"
            )
        if status not in (200, 206):
            raise _Broken(f"{status} {response.reason}")
        if status == 200:
            # The server does not resume: from the beginning.
            have = 0
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
        if archive.size is not None and total is not None and total != archive.size:
            raise DataError(
                f"{archive.url}: the server offers {total} bytes, {archive.size} expected; it is "
                "another file now: get the official one and give it with --archive FILE"
            )
        total = total if total is not None else archive.size
        _room(part, total)
        meter.of(total)
        try:
            have = _append(response, part, have, meter)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DataError(
                f"{part}: the disk is full; what is there is kept: free some space and run again"
            ) from None
        if total is not None and have < total:
            raise _Broken(f"the connection ended after {have} of {total} bytes")


def _append(response: requests.Response, part: Path, have: int, meter: Meter) -> int:
    """Write the body after the first `have` bytes of `part`; the number of bytes there then."""
    with part.open("r+b") as file:
        file.truncate(have)
        file.seek(have)
        for block in response.raw.stream(BLOCK // 16, decode_content=False):
            file.write(block)
            have += len(block)
            meter.to(have)
    return have


def _empty(part: Path) -> None:
    with part.open("wb"):
        pass


def _room(part: Path, total: int | None) -> None:
    """Say at once that a file will not fit, not after an hour."""
    if total is None:
        return
    needed = total - part.stat().st_size
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DataError(
            f"{part}: needs {decimal(needed)}, the disk has {decimal(free)} free; free some space "
            "or choose another --root"
        )


def _content_range(header: str) -> tuple[int | None, int | None]:
    """First byte and whole size in `bytes 5-9/10` or `bytes */10`; None for what is not said."""
    unit, _, rest = header.partition(" ")
    if unit != "bytes":
        return None, None
    span, _, size = rest.partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdigit() else None, int(size) if size.isdigit() else None


def _reason(error: BaseException) -> str:
    """The innermost cause in a few words; libraries wrap it several times."""
    if isinstance(error, _Broken):
        return str(error)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        # urllib3 keeps the cause among its arguments, or as an attribute.
        inner = [getattr(cause, "reason", None), *cause.args, cause.__context__]
        cause = next((one for one in inner if isinstance(one, BaseException)), None)
    return "the connection broke off"
