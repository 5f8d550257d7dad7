"""One function over many items, on all cores where that is worth it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], *, few: int, processes: int = 0
) -> Generator[Result, None, None]:
    """Yield `function(item)` of every item in order; an exception of one ends the whole.

    `function` must be importable from its module: it runs in fresh processes, as many as there are
    cores unless `processes` says how many. Each has more than a `few` items, which take about as
    long as starting it; fewer are worked through here. Close it where it may not come to its end:
    no process is at work afterwards.
    """
    processes = min(processes or os.cpu_count() or 1, -(-len(items) // few))
    # A worker of a run is a daemon, and may have no processes of its own.
    if processes < 2 or multiprocessing.current_process().daemon:
        yield from map(function, items)
        return
    # Fresh processes: forking one that has threads (a progress bar's) can deadlock the child.
    pool = ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_follow_the_parent,
    )
    try:
        chunk = min(16, -(-len(items) // processes))
        yield from pool.map(function, items, chunksize=chunk)
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
