"""The project's own commands, run as a user runs them."""

import os
import subprocess
import sys

from replication.arguments import HOME
from replication.errors import RunError


def python(*words: str) -> None:
    """Run the interpreter on these words in the checkout; what it prints is dropped.

    Modules are compiled once and kept, as they are where the environment does not forbid it: it
    would take longer than all else of a short command. Raises RunError if it fails, after what the
    command itself has said on stderr.
    """
    kept = {k: value for k, value in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, *words], cwd=HOME, stdout=subprocess.DEVNULL, env=kept)
    if done.returncode:
        asked = " ".join(words).splitlines()[0]
        raise RunError(f"python {asked}: ended with status {done.returncode}")
