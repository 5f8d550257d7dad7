"""Workers: two beside one, and beside threads; and what two processes get of this machine.

Four trainings of equal length, as the command runs them. A second worker cannot gain them more than
two processes at once gain their iterations, and those no more than products and copies: each is
measured beside the same work of one process after the other, in the same run.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.networks import build, iteration, table6, tier
from benchmarks.speed.alternating import Comparison, Run, compared
from benchmarks.speed.apart import apart
from benchmarks.speed.plan import Bench
from replication.allocation import keep_memory
from replication.environment import has_bf16
from replication.protocol import Precision

DIFFERENT = tuple(f"table3/mg{grid}-block4" for grid in ("111", "121", "123", "124"))
AIM = 1.4
PROCESSES = 2
CLASSES = 13


def compare(repetitions: int) -> Iterator[Comparison]:
    yield at_once(repetitions, "40 products of 1024 squared", products, 40)
    yield at_once(repetitions, "30 copies of 256 MB", copies, 30)
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if has_bf16() else ("fp32",)
    for precision in precisions:
        what = f"10 iterations of micro's Table 6, {precision}"
        yield at_once(repetitions, what, iterations, 10, precision)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        what = "four trainings, two workers of one thread"
        beside: list[float] = []
        alone: list[float] = []
        found = compared(
            _noted(bench, beside, workers=2), _noted(bench, alone), repetitions,
            what=what, theirs_is="one worker of one thread", target=AIM,
        )  # fmt: skip
        # Once each to warm up.
        yield replace(found, note=divided(found, alone[1:], beside[1:]))
        yield compared(
            _noted(bench, [], workers=2), _noted(bench, [], threads=2), repetitions,
            what=what, theirs_is="one worker of two threads",
        )  # fmt: skip


def at_once(repetitions: int, what: str, make: Callable[..., Run], *given: object) -> Comparison:
    """The work `make(*given)` in two processes at once, beside one of them after the other."""
    with ExitStack() as stack:
        each = [stack.enter_context(apart(make, *given)) for _ in range(PROCESSES)]
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSES))

        def together() -> None:
            for waiting in [pool.submit(run) for run in each]:
                waiting.result()

        def in_turn() -> None:
            for run in each:
                run()

        return compared(
            together, in_turn, repetitions,
            what=f"{what} in each of {PROCESSES} processes, at once", theirs_is="in turn",
        )  # fmt: skip


def divided(found: Comparison, alone: Sequence[float], beside: Sequence[float]) -> str:
    """What of the runs is work, by seconds of their jobs, and what else."""
    work = statistics.median(alone)
    slower = statistics.median(beside) / work
    other = statistics.median(found.theirs) - work
    return (
        f"By the records the jobs take {work:.3g} s of one worker, and {slower:.2f} times as long "
        f"beside another's, so that two are {PROCESSES / slower:.2f} times as quick at most; "
        f"{other:.2g} s more start and end the command, with two as with one."
    )


def products(count: int) -> Run:
    torch.set_num_threads(1)
    a, out = torch.randn(1024, 1024), torch.empty(1024, 1024)

    def run() -> None:
        for _ in range(count):
            torch.mm(a, a, out=out)

    return run


def copies(count: int) -> Run:
    torch.set_num_threads(1)
    a, b = torch.zeros(1 << 26), torch.zeros(1 << 26)

    def run() -> None:
        for _ in range(count):
            b.copy_(a)

    return run


def iterations(count: int, precision: Precision) -> Run:
    """Of a training as a worker has it."""
    torch.set_num_threads(1)
    keep_memory()
    row = table6("os8", tier("micro"))
    stage = row.stage.model_copy(update={"precision": precision})
    one = iteration(build(row.network, CLASSES, stage.output_stride), stage, CLASSES)

    def run() -> None:
        for _ in range(count):
            one()

    return run


def _noted(bench: Bench, seconds: list[float], workers: int = 1, threads: int = 1) -> Run:
    """A run of the four trainings that notes what their jobs took."""

    def run() -> None:
        bench.run(DIFFERENT, workers=workers, threads=threads)
        seconds.append(bench.at_work())

    return run
