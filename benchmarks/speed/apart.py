"""Each side of a comparison in a process of its own, so that neither's settings are the other's."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.speed.alternating import Run


@contextmanager
def apart(make: Callable[..., Run], *given: Any) -> Iterator[Run]:
    """`make(*given)` in another process; what is yielded does its work there once, and waits.

    Raises RuntimeError for what fails there.
    """
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, make, given), daemon=True)
    process.start()
    there.close()

    def run() -> None:
        try:
            here.send(None)
            failed = here.recv()
        except (EOFError, BrokenPipeError):
            process.join()
            raise RuntimeError(f"{make.__name__}: its process ended, {process.exitcode}") from None
        if failed:
            raise RuntimeError(failed)

    try:
        yield run
    finally:
        here.close()
        process.join()


def _serve(there: Connection, make: Callable[..., Run], given: tuple[Any, ...]) -> None:
    run: Run | None = None
    while True:
        try:
            there.recv()
        except EOFError:
            return
        try:
            run = run or make(*given)
            run()
            there.send("")
        except Exception:
            there.send(traceback.format_exc())
