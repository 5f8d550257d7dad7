"""Start-up of the main command, beside what importing torch alone would take."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.speed.alternating import Comparison, alternate

HOME = Path(__file__).resolve().parents[2]
# Seconds within which --help and --list are to be there.
LIMIT = 0.3


def _python(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=HOME, check=True, stdout=subprocess.DEVNULL)


def compare(repetitions: int) -> Iterator[Comparison]:
    for option in ("--help", "--list"):
        of_ours, of_theirs = alternate(
            lambda option=option: _python("-m", "replication.run", option),  # type: ignore[misc]
            lambda: _python("-c", "import torch"),
            repetitions,
        )
        yield Comparison(
            what=f"replication.run {option} (to be under {LIMIT:g} s)",
            theirs_is="import torch",
            ours=tuple(of_ours),
            theirs=tuple(of_theirs),
        )
