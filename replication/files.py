"""Writing results: whole or not at all."""

import os
from pathlib import Path

from replication.errors import RunError


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write beside, then rename into place; a reader sees the old file or the new one, never half.

    Makes the folder if it is missing. Raises RunError if it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(data)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    return path
