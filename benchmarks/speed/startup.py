"""Start-up of the main command, beside what importing torch alone would take."""

from collections.abc import Iterator
from functools import partial

from benchmarks.commands import python
from benchmarks.speed.alternating import Comparison, compared

# Seconds within which --help and --list are to be there.
LIMIT = 0.3


def compare(repetitions: int) -> Iterator[Comparison]:
    for option in ("--help", "--list"):
        yield compared(
            partial(python, "-m", "replication.run", option),
            partial(python, "-c", "import torch"),
            repetitions,
            what=f"replication.run {option}",
            theirs_is="import torch",
            within=LIMIT,
        )
