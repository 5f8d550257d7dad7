"""Two ways of doing the same thing, timed in turn in one process, and what their ratio is."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

Run = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Seconds of ours and of theirs, repetition by repetition, for the same work."""

    what: str
    theirs_is: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    # Pieces of work in one run, and what a piece is called.
    pieces: float = 1.0
    unit: str = "run"
    # The speed-up that was aimed at; None where none was.
    target: float | None = None
    # The seconds within which ours is to be done, where that is the aim.
    within: float | None = None
    # A sentence beside the numbers.
    note: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Their seconds over ours, within each repetition: above 1 ours is faster."""
        return tuple(t / o for o, t in zip(self.ours, self.theirs, strict=True))

    @property
    def speedup(self) -> float:
        return statistics.median(self.ratios)

    @property
    def aim(self) -> str:
        """What was aimed at."""
        if self.within is not None:
            return f"{self.within:g} s"
        return "none" if self.target is None else f"{self.target:g} times"

    @property
    def verdict(self) -> str:
        """Whether the median met it; empty where there was no aim."""
        if self.within is not None:
            return _met(statistics.median(self.ours) <= self.within)
        return "" if self.target is None else _met(self.speedup >= self.target)

    def as_json(self) -> dict[str, Any]:
        found = {"ratios": self.ratios, "speedup": self.speedup, "verdict": self.verdict}
        return {**asdict(self), **found}


def _met(value: bool) -> str:
    return "met" if value else "missed"


def seconds(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def alternate(ours: Run, theirs: Run, repetitions: int) -> tuple[list[float], list[float]]:
    """Seconds of each, in turn, the one that goes first changing; once before, to warm up."""
    ours(), theirs()
    of_ours, of_theirs = [], []
    for repetition in range(repetitions):
        if repetition % 2:
            of_theirs.append(seconds(theirs))
            of_ours.append(seconds(ours))
        else:
            of_ours.append(seconds(ours))
            of_theirs.append(seconds(theirs))
    return of_ours, of_theirs


def compared(
    ours: Run,
    theirs: Run,
    repetitions: int,
    *,
    what: str,
    theirs_is: str,
    pieces: float = 1.0,
    unit: str = "run",
    target: float | None = None,
    within: float | None = None,
    note: str = "",
) -> Comparison:
    """Two runs of the same work, in turn; the fields are `Comparison`'s."""
    of_ours, of_theirs = alternate(ours, theirs, repetitions)
    return Comparison(
        what=what,
        theirs_is=theirs_is,
        ours=tuple(of_ours),
        theirs=tuple(of_theirs),
        pieces=pieces,
        unit=unit,
        target=target,
        within=within,
        note=note,
    )


def show(comparisons: Sequence[Comparison], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("what", "beside"):
        table.add_column(heading)
    for heading in ("ours", "theirs", "speed-up", "range", "aim", ""):
        table.add_column(heading, justify="right")
    for one in comparisons:
        table.add_row(
            one.what,
            one.theirs_is,
            _rate(statistics.median(one.ours), one),
            _rate(statistics.median(one.theirs), one),
            f"{one.speedup:.2f}",
            f"{min(one.ratios):.2f} to {max(one.ratios):.2f}",
            one.aim,
            one.verdict,
        )
    console.print(table)
    for one in comparisons:
        if one.note:
            console.print(one.note)


def as_markdown(comparisons: Sequence[Comparison]) -> Iterator[str]:
    for one in comparisons:
        yield f"### {one.what}"
        yield ""
        yield "| | median | range |"
        yield "|:--|--:|:-:|"
        for whose, taken in (("ours", one.ours), (one.theirs_is, one.theirs)):
            span = f"{_rate(min(taken), one)} to {_rate(max(taken), one)}"
            yield f"| {whose} | {_rate(statistics.median(taken), one)} | {span} |"
        span = f"{min(one.ratios):.2f} to {max(one.ratios):.2f}"
        yield f"| speed-up | {one.speedup:.2f} | {span} |"
        yield ""
        aim = f"Aim: {one.aim}: {one.verdict}." if one.verdict else "No aim."
        yield f"{aim} {one.note}".rstrip()
        yield ""


def _rate(taken: float, one: Comparison) -> str:
    """Seconds a run or a piece, or pieces a second where that is mostly the larger number."""
    if one.unit == "run":
        return f"{three(taken)} s"
    each, usual = taken / one.pieces, statistics.median(one.ours) / one.pieces
    if usual > 0.5:
        return f"{each:.3g} s/{one.unit}"
    return f"{three(1 / each)} {one.unit}s/s"


def three(number: float) -> str:
    """Three digits, but no powers of ten."""
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"
