"""One function over many files, on all cores, with a meter."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from rich.console import Console

from replication.data.pool import in_order
from replication.data.prepare.meter import Meter

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting a process costs about as much as this many small files.
_FEW = 64


def work_through(
    function: Callable[[Item], Result], items: Sequence[Item], label: str, console: Console
) -> Iterator[Result]:
    """Yield `function(item)` of every item in order; an exception of one ends the whole.

    `function` must be importable from its module: it runs in fresh processes, unless there are
    only few items.
    """
    with (
        Meter(console, label, len(items)) as meter,
        closing(in_order(function, items, few=_FEW)) as results,
    ):
        for done, result in enumerate(results, 1):
            meter.to(done)
            yield result
