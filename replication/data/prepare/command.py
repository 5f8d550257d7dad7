"""What the data scripts share: options, whole-or-nothing folders, counts, and exit statuses."""

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.filesize import decimal

from replication.arguments import Parser
from replication.errors import DataError, ReplicationError

# Seconds that workers whose command was killed may take to end.
PATIENCE = 10.0

SHOWN_PROBLEMS = 20
FINE, NOT_AS_IT_MUST_BE, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many there are, and how many there must be (None: no fixed number)."""

    name: str
    found: int
    expected: int | None = None

    @property
    def right(self) -> bool:
        return self.expected is None or self.found == self.expected


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that all scripts have; a script may add its own."""
    made = Parser(prog=f"python data_scripts/{name}.py", description=description)
    made.add_argument(
        "--root", type=Path, required=True, metavar="DATA", help="folder that holds the data sets"
    )
    made.add_argument(
        "--archive", type=Path, action="append", default=[], metavar="FILE",
        help="an official archive that you have already (may be given again for another)",
    )  # fmt: skip
    made.add_argument(
        "--ids", type=Path, metavar="FILE",
        help="make a smaller set, of the ids in FILE (one a line), in DATA",
    )  # fmt: skip
    return made


def run(body: Callable[[Console], bool]) -> int:
    """Run a script's body, which says whether all is as it must be; the exit status.

    0: so it is. 1: a set is there and is not as it must be. 2: wrong input, or the work could not
    be done: one line a problem on stderr. 130: interrupted.
    """
    # Paths are printed as they are: not wrapped, no markup in them.
    console = Console(markup=False, highlight=False, soft_wrap=True)
    try:
        return FINE if body(console) else NOT_AS_IT_MUST_BE
    except ReplicationError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"{place}{error.strerror or error}; mend that and run again", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; run again to go on", file=sys.stderr)
        return INTERRUPTED
    return WRONG_INPUT


@contextmanager
def alone(root: Path, name: str) -> Iterator[None]:
    """Only one command at a time makes the part `name` of the sets in `root`."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / f".{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"{root}: another command is preparing {name} here; wait until it has ended"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def partial(folder: Path) -> Iterator[Path]:
    """An empty `folder`.partial to fill, thrown away at the end and on every error.

    The caller moves what is whole out of it (`merge`, or `os.replace` of the whole folder). A kill
    leaves it behind under its name; the next run empties it, and waits for workers that have not
    noticed the kill yet and still write into it.
    """
    made = folder.with_name(f"{folder.name}.partial")
    until = time.monotonic() + PATIENCE
    shutil.rmtree(made, ignore_errors=True)
    while made.exists() and time.monotonic() < until:
        time.sleep(0.05)
        shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def told_of(archive: Path, made: Path) -> Iterator[None]:
    """What is wrong with a file unpacked to the folder `made` is told as the archive's fault.

    The folder is thrown away then, so its name would help nobody.
    """
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace(f"{made}{os.sep}", f"{archive}: ")) from None


def merge(source: Path, target: Path) -> None:
    """Move every file under `source` to the same place under `target`, on the same disk."""
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(Path(folder) / name, place / name)


def read_ids(file: Path) -> tuple[str, ...]:
    """The ids of a text file, one a line, in order.

    Raises DataError if there are none, or one is given twice or cannot be a file's name.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise DataError(f"{file}: cannot be read ({why})") from None
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise DataError(f"{file}: no ids here; one a line is expected")
    problems, seen = [], set[str]()
    for id_ in ids:
        if not ID.fullmatch(id_):
            problems.append(f"{file}: {id_!r} is not an id; one a line is expected")
        elif id_ in seen:
            problems.append(f"{file}: {id_} stands there twice")
        seen.add(id_)
    raise_problems(problems)
    return tuple(ids)


def refuse_unknown(ids: Sequence[str], known: set[str], file: Path, known_to: str) -> None:
    """Raise DataError naming the ids of `file` that the full set does not have."""
    raise_problems([f"{file}: {id_} is not in {known_to}" for id_ in ids if id_ not in known])


def raise_problems(problems: Sequence[str]) -> None:
    """Raise DataError with a line for each problem, if there are any."""
    if problems:
        raise DataError("\n".join(shortened(problems)))


def shortened(problems: Sequence[str]) -> list[str]:
    """The first problems, and how many more there are."""
    shown = list(problems[:SHOWN_PROBLEMS])
    if len(problems) > SHOWN_PROBLEMS:
        shown.append(f"and {len(problems) - SHOWN_PROBLEMS} more problems")
    return shown


def show_counts(counts: Sequence[Count], console: Console) -> bool:
    """Print what was found against what must be found; whether all is right."""
    width = max((len(count.name) for count in counts), default=0)
    for count in counts:
        must = "" if count.expected is None else f" of {count.expected:,}"
        wrong = "" if count.right else "  WRONG"
        console.print(f"  {count.name:<{width}}  {count.found:,}{must}{wrong}", highlight=False)
    return all(count.right for count in counts)


def report(
    counts: Sequence[Count],
    problems: Sequence[str],
    *,
    folder: Path,
    role: str,
    console: Console,
) -> bool:
    """Print the end of every script: counts, problems, where it is and how to use it.

    Returns whether all is as it must be.
    """
    right = show_counts(counts, console)
    for problem in shortened(problems):
        print(problem, file=sys.stderr)
    console.print(f"  {folder}: {decimal(size_on_disk(folder))}", markup=False, highlight=False)
    if right and not problems:
        console.print(
            f"  use it with: python -m replication.run … --data {role}={folder}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    return right and not problems


def size_on_disk(folder: Path) -> int:
    """Bytes of all files under `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
