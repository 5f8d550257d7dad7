"""Start-up of the main command, beside what importing torch alone would take."""

from collections.abc import Iterator
from functools import partial

from benchmarks.commands import python
from benchmarks.speed.alternating import Comparison, alternate

# Seconds within which --help and --list are to be there.
LIMIT = 0.3


def compare(repetitions: int) -> Iterator[Comparison]:
    for option in ("--help", "--list"):
        of_ours, of_theirs = alternate(
            partial(python, "-m", "replication.run", option),
            partial(python, "-c", "import torch"),
            repetitions,
        )
        yield Comparison(
            what=f"replication.run {option}",
            theirs_is="import torch",
            ours=tuple(of_ours),
            theirs=tuple(of_theirs),
            within=LIMIT,
        )
