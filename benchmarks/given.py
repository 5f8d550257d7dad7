"""What the benchmarks are given, checked before the first of them is timed."""

import tempfile
from pathlib import Path

from replication.errors import ReplicationError


def at_least_one(**counts: int | None) -> None:
    """Raises ReplicationError for a count below 1, by the name of its option."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ReplicationError(f"--{name.replace('_', '-')} {count}: must be at least 1")


def writable(file: Path | None) -> None:
    """Make the folder of a file that is to be written in the end.

    Raises ReplicationError or OSError if nothing can be written there.
    """
    if file is None:
        return
    if file.is_dir():
        raise ReplicationError(f"{file}: is a folder; give a file in it")
    file.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=file.parent).close()


def only(role: str, given: dict[str, str], option: str) -> str | None:
    """The value given for the one name that an option takes; None where none is.

    Raises ReplicationError for another name.
    """
    for name in given:
        if name != role:
            raise ReplicationError(f"{option} {name}=…: is not measured here; only {role} is")
    return given.get(role)
