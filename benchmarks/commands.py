"""The project's own commands, run as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

from replication.arguments import HOME
from replication.errors import RunError


def python(*words: str, home: Path = HOME, data: Path | None = None) -> str:
    """Run the interpreter on these words in a checkout; returns what it prints.

    `data` is its data cache, if not the usual one. Modules are compiled once and kept, as they are
    where the environment does not forbid it: it would take longer than all else of a short command.
    Raises RunError if it fails, after what the command itself has said on stderr.
    """
    kept = {k: value for k, value in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    if data is not None:
        kept["REPLICATION_DATA"] = str(data)
    done = subprocess.run(
        [sys.executable, *words], cwd=home, stdout=subprocess.PIPE, env=kept, text=True
    )
    if done.returncode:
        asked = " ".join(words).splitlines()[0]
        raise RunError(f"python {asked}: ended with status {done.returncode}")
    return done.stdout
