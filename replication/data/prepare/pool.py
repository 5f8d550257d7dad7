"""One function over many files, on all cores, with a meter."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from rich.console import Console

from replication.data.prepare.meter import Meter

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting the processes costs about as much as this many small files.
_FEW = 64


def work_through(
    function: Callable[[Item], Result], items: Sequence[Item], label: str, console: Console
) -> Iterator[Result]:
    """Yield `function(item)` of every item in order; an exception of one ends the whole.

    `function` must be importable from its module: it runs in fresh processes, unless there are
    only few items.
    """
    if len(items) <= _FEW:
        yield from _shown(map(function, items), len(items), label, console)
        return
    # Fresh processes: forking one that has threads (a progress bar's) can deadlock the child.
    pool = ProcessPoolExecutor(
        mp_context=multiprocessing.get_context("spawn"), initializer=_follow_the_parent
    )
    try:
        chunk = min(16, -(-len(items) // (os.cpu_count() or 1)))
        results = pool.map(function, items, chunksize=chunk)
        yield from _shown(results, len(items), label, console)
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_the_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it ends, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in workers only"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _shown(results: Iterator[Result], total: int, label: str, console: Console) -> Iterator[Result]:
    with Meter(console, label, total) as meter:
        for done, result in enumerate(results, 1):
            meter.to(done)
            yield result
