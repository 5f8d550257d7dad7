"""What was measured, and what it is worth: the contract between the verdicts and every rendering.

Plain frozen data. mIoU and IoU are in percent throughout; differences are in points of mIoU.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from replication.spec.names import TableKey
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
ClaimVerdict = Literal["supported", "contradicted", "undecided", "not run"]


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
    # What the seed decides for the training: equal where the same seed gives the same pictures in
    # the same order, cut out alike.
    draws: str = ""
    # The pretrained backbone that the seed starts from, where each seed has one of its own.
    backbone: str = ""
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
    table: TableKey
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
    # The cell that this one is a variant of, and this one's mIoU less that one's under each seed
    # that both have.
    against: str | None = None
    difference: Measured | None = None

    @property
    def shown_verdict(self) -> str:
        return in_words(self.verdict, self.measured.n if self.measured else 0)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A difference a - b that a claim rests on, in points of mIoU.

    Each end of its interval is wrong with the probability that the verdict was tested at; with a
    single seed, the interval is the declared margin's.
    """

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
    # What the verdict rests on, in words.
    basis: str
    # Seeds of the cell that has fewest.
    n: int = 0
    # The claim's p-value and what it was held against; None where nothing could be tested.
    p: float | None = None
    level: float | None = None
    # The smallest difference that these seeds would have shown in four of five cases.
    smallest: float | None = None

    @property
    def shown_verdict(self) -> str:
        return in_words(self.verdict, self.n)


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
class OpenPoint:
    """A decision that the paper leaves open, as it stands for cells of a table."""

    topic: str
    # The field of the protocol that holds it; "" where it is built in.
    field: str
    # What is in force, and the ledger's choice where that is another.
    value: str
    chosen: str
    # The file that sets it; "" where it is as chosen.
    set_by: str
    # The cells that have it so.
    cells: tuple[str, ...]
    # Whether it touches every cell of the table that can be measured.
    every: bool


@dataclass(frozen=True, kw_only=True)
class TableResult:
    # The paper's number, or the name of a spec of one's own.
    table: TableKey
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
    open_points: tuple[OpenPoint, ...] = ()

    def cell(self, cell_id: str) -> CellResult:
        return next(cell for cell in self.cells if cell.cell == cell_id)


def in_words(verdict: str, n: int) -> str:
    """A verdict, with "single seed" where it rests on one run alone."""
    judged = ("reproduced", "below", "above", "supported", "contradicted")
    single = n == 1 and verdict in judged
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
