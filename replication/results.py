"""What was measured, and what it is worth: the contract between the verdicts and every rendering.

Plain frozen data. mIoU and IoU are in percent throughout; differences are in points of mIoU.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from replication.statistics import mean, standard_deviation

CellVerdict = Literal[
    "reproduced",
    "below",
    "above",
    "inconclusive",
    "suspect",
    "not comparable",
    "not run",
    "failed",
    "unavailable",
    "published only",
]
ClaimVerdict = Literal["holds", "fails", "undecided", "not run"]


@dataclass(frozen=True, kw_only=True)
class Entered:
    """A test server's score that was entered by hand: mIoU in percent, and who says so."""

    seed: int
    miou: float
    evidence: str
    # YYYY-MM-DD
    date: str


@dataclass(frozen=True, kw_only=True)
class LeakChecks:
    """How the evaluated pictures were looked for among those trained on, a line each."""

    # Those that were made, and found none.
    made: tuple[str, ...] = ()
    # What could not be looked into.
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """What one seed gave for one cell, as recorded: mIoU in percent, or why there is none."""

    seed: int
    miou: float | None = None
    # IoU in percent by class; None for a class that occurs nowhere.
    per_class: Mapping[str, float | None] = field(default_factory=dict)
    training: tuple[str, ...] = ()
    evaluation: str = ""
    # One line; None if the steps are done or have not run.
    failure: str | None = None
    # Further measured quantities by name, such as relative_time.
    extra: Mapping[str, float] = field(default_factory=dict)
    # Where the mIoU is a test server's, entered by hand.
    entered: Entered | None = None
    # What the linter holds against its records, a line each.
    findings: tuple[str, ...] = ()
    leak_checks: LeakChecks = LeakChecks()
    # One line on how it stands with the test server; empty where there is nothing to say.
    remark: str = ""

    @property
    def problem(self) -> str | None:
        if self.failure is not None:
            return self.failure
        if self.miou is not None and not math.isfinite(self.miou):
            return f"its mIoU is {self.miou}, not a number to judge"
        return None

    @property
    def value(self) -> float | None:
        return None if self.problem else self.miou


@dataclass(frozen=True, kw_only=True)
class Measured:
    """mIoU in percent under each seed."""

    values: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def sd(self) -> float | None:
        """None for a single seed."""
        return standard_deviation(self.values)


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A further quantity of a cell beside its mIoU."""

    published: float | None
    measured: float | None


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One cell, ready to be drawn."""

    cell: str
    table: int
    method: str
    published: float | None
    bold: bool
    measured: Measured | None
    verdict: CellVerdict
    # Why it is unavailable, failed, not run, or what its verdict rests on.
    reason: str
    # The chain of training steps and the evaluation step under each seed that was asked for.
    training: tuple[tuple[str, ...], ...]
    evaluation: tuple[str, ...]
    # Mean IoU in percent by class over the seeds; None for a class that occurs nowhere.
    per_class: Mapping[str, float | None]
    extra: Mapping[str, Extra]
    note: str
    # Those of the measured values that were entered by hand.
    entered: tuple[Entered, ...] = ()

    @property
    def shown_verdict(self) -> str:
        return in_words(self.verdict, self.measured.n if self.measured else 0)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A difference a - b that a claim rests on, paired by seed; points of mIoU."""

    a: str
    b: str
    published: float | None
    measured: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    says: str
    where: str
    kind: str
    verdict: ClaimVerdict
    pairs: tuple[Pair, ...]
    # One sentence with the numbers that the verdict rests on.
    basis: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Two axes, as Tables 2 and 3 are printed; one row of cells when there is only one axis."""

    row_heading: str
    column_heading: str
    columns: tuple[str, ...]
    # (the row's name, the ids of its cells)
    rows: tuple[tuple[str, tuple[str | None, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One cell a row, as Table 5 is printed; a truth value is a tick or nothing."""

    headings: tuple[str, ...]
    # (the cell's id, what stands under each heading)
    rows: tuple[tuple[str, tuple[str | bool, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class TableResult:
    number: int
    title: str
    source: str
    tier: str
    comparable: bool
    # What a reader must know before comparing; empty where nothing stands in the way.
    notice: str
    cells: tuple[CellResult, ...]
    claims: tuple[ClaimResult, ...]
    notes: tuple[str, ...]
    layout: Grid | Rows

    def cell(self, cell_id: str) -> CellResult:
        return next(cell for cell in self.cells if cell.cell == cell_id)


def in_words(verdict: str, n: int) -> str:
    """A cell's verdict, with "single seed" where one run alone was held against the paper's."""
    single = n == 1 and verdict in ("reproduced", "below", "above")
    return f"{verdict} (single seed)" if single else verdict


def by_hand(entered: Sequence[Entered]) -> str:
    """Which scores were entered by hand, on what evidence; empty for none."""
    if not entered:
        return ""
    if len(entered) == 1:
        return f"entered by hand ({entered[0].evidence}, {entered[0].date})"
    listed = ", ".join(f"seed {one.seed} ({one.evidence}, {one.date})" for one in entered)
    return f"entered by hand: {listed}"


def words(name: str) -> str:
    """A key as words: relative_time is relative time."""
    return name.replace("_", " ")
