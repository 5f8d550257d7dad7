"""The project's own commands, run as a user runs them."""

import subprocess
import sys

from replication.arguments import HOME
from replication.errors import RunError


def python(*words: str) -> None:
    """Run the interpreter on these words in the checkout; what it prints is dropped.

    Raises RunError if it fails, after what the command itself has said on stderr.
    """
    done = subprocess.run([sys.executable, *words], cwd=HOME, stdout=subprocess.DEVNULL)
    if done.returncode:
        asked = " ".join(words).splitlines()[0]
        raise RunError(f"python {asked}: ended with status {done.returncode}")
