"""A table's result as rows of entries, the same for every medium."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from replication.render.points import numbers
from replication.results import CellResult, Extra, Grid, Measured, Rows, TableResult, by_hand, words

# Cells that show a word in place of a number, with the reason in a footnote.
EXPLAINED = ("failed", "unavailable")
# Verdicts that ask something of the reader: what, is in a footnote.
TO_ACT_ON = ("above", "inconclusive", "suspect")

Align = Literal["left", "center", "right"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    text: str = ""
    bold: bool = False
    tick: bool = False
    # The letter of a footnote.
    mark: str = ""
    # The numbers of open points that touch this cell and not all others.
    points: tuple[int, ...] = ()

    @property
    def marks(self) -> str:
        """All that stands raised beside it: `a`, `1,2`, `a,1`."""
        return ",".join(part for part in (self.mark, *map(str, self.points)) if part)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Headings, rows in groups that belong together, and footnotes by their letter."""

    headings: tuple[str, ...]
    align: tuple[Align, ...]
    groups: tuple[tuple[tuple[Entry, ...], ...], ...]
    footnotes: tuple[tuple[str, str], ...]
    # What the measured numbers are.
    legend: str


def lay_out(result: TableResult, *, compact: bool = False) -> Sheet:
    """Published and measured side by side, in the paper's own layout.

    `compact` leaves the number of seeds to the legend where all cells share it.
    """
    counts = {cell.measured.n for cell in result.cells if cell.measured}
    writer = _Writer(
        compact=compact and len(counts) <= 1, decimals=_decimals(result), points=numbers(result)
    )
    if isinstance(result.layout, Grid):
        return writer.grid(result, result.layout)
    return writer.rows(result, result.layout)


def _decimals(result: TableResult) -> int:
    """As many as the paper prints: two in most tables, one in Tables 7 and 13."""
    stated = [str(cell.published).partition(".")[2] for cell in result.cells if cell.published]
    return max([1, *(len(decimals) for decimals in stated if decimals != "0")])


class _Writer:
    """Collects the footnotes as it writes the entries."""

    def __init__(
        self, *, compact: bool, decimals: int, points: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.compact = compact
        self.decimals = decimals
        self.points = points
        self.footnotes: dict[str, str] = {}

    def grid(self, result: TableResult, layout: Grid) -> Sheet:
        """For each row of the paper's table: a line published, a line measured."""
        groups = []
        for name, ids in layout.rows:
            cells = [None if id_ is None else result.cell(id_) for id_ in ids]
            lines = [
                (what, tuple(Entry() if entry is None else entry for entry in entries))
                for what, entries in self._lines(result, cells)
            ]
            groups.append(
                tuple(
                    (Entry(text=name if index == 0 else ""), Entry(text=what), *entries)
                    for index, (what, entries) in enumerate(lines)
                )
            )
        first: tuple[str, ...] = (layout.row_heading, layout.column_heading)
        if not any(name for name, _ in layout.rows):  # one axis: no column of row names
            first = first[1:]
            groups = [tuple(line[1:] for line in group) for group in groups]
        align: list[Align] = ["left"] * len(first)
        align += ["right"] * len(layout.columns)
        return self._sheet(
            result,
            headings=(*first, *layout.columns),
            align=tuple(align),
            groups=tuple(groups),
        )

    def _lines(
        self, result: TableResult, cells: Sequence[CellResult | None]
    ) -> Iterator[tuple[str, list[Entry | None]]]:
        present = [cell for cell in cells if cell]
        yield "published", [self._published(cell) if cell else None for cell in cells]
        yield "measured", [self._measured(cell) if cell else None for cell in cells]
        if result.comparable:
            yield "verdict", [self._verdict(cell) if cell else None for cell in cells]
        for name in dict.fromkeys(name for cell in present for name in cell.extra):
            for what in ("published", "measured"):
                extras = [cell.extra.get(name) if cell else None for cell in cells]
                yield f"{words(name)}, {what}", [_extra(extra, what) for extra in extras]

    def rows(self, result: TableResult, layout: Rows) -> Sheet:
        """One cell a line: its axes, published, measured."""
        cells = [result.cell(cell_id) for cell_id, _ in layout.rows]
        extras = list(dict.fromkeys(name for cell in cells for name in cell.extra))
        # A spec of one's own may have no published numbers, and have variants of cells instead.
        published = any(cell.published is not None for cell in cells)
        variants = any(cell.against for cell in cells)
        lines = []
        for cell, (_, values) in zip(cells, layout.rows, strict=True):
            axes = [Entry(tick=v) if isinstance(v, bool) else Entry(text=v) for v in values]
            line = [*axes, *([self._published(cell)] if published else [])]
            line.append(self._measured(cell))
            if variants:
                line += [Entry(text=cell.against or ""), self._difference(cell)]
            if result.comparable:
                line.append(self._verdict(cell))
            for name in extras:
                line += [_extra(cell.extra.get(name), what) for what in ("published", "measured")]
            lines.append(tuple(line))
        align: list[Align] = [
            "center" if any(isinstance(values[i], bool) for _, values in layout.rows) else "left"
            for i in range(len(layout.headings))
        ]
        headings = [*layout.headings, *(["published"] if published else []), "measured"]
        align += ["right"] * (1 + published)
        if variants:
            headings += ["against", "difference"]
            align += ["left", "right"]
        if result.comparable:
            headings.append("verdict")
            align.append("left")
        for name in extras:
            headings += [f"{words(name)}, published", f"{words(name)}, measured"]
            align += ["right", "right"]
        return self._sheet(
            result, headings=tuple(headings), align=tuple(align), groups=(tuple(lines),)
        )

    def _sheet(
        self,
        result: TableResult,
        *,
        headings: tuple[str, ...],
        align: tuple[Align, ...],
        groups: tuple[tuple[tuple[Entry, ...], ...], ...],
    ) -> Sheet:
        return Sheet(
            headings=headings,
            align=align,
            groups=groups,
            footnotes=tuple((mark, text) for text, mark in self.footnotes.items()),
            legend=_legend(result, compact=self.compact),
        )

    def _published(self, cell: CellResult) -> Entry:
        text = "–" if cell.published is None else f"{cell.published:.{self.decimals}f}"
        return Entry(text=text, bold=cell.bold)

    def _measured(self, cell: CellResult) -> Entry:
        return replace(self._number(cell), points=self.points.get(cell.cell, ()))

    def _number(self, cell: CellResult) -> Entry:
        if cell.verdict in EXPLAINED:
            reason = cell.reason
            if cell.measured and cell.verdict == "failed":
                reason += f"; the other runs gave {spread(cell.measured)}"
            return Entry(text=cell.verdict, mark=self._mark(reason))
        if cell.verdict == "published only":
            return Entry(text="–")
        if cell.measured is None:
            return Entry(text=cell.verdict)
        mark = self._mark(by_hand(cell.entered)) if cell.entered else ""
        return Entry(text=spread(cell.measured, compact=self.compact), mark=mark)

    def _difference(self, cell: CellResult) -> Entry:
        if cell.difference is None:
            return Entry(text="–" if cell.against else "")
        return Entry(text=spread(cell.difference, compact=self.compact, signed=True))

    def _verdict(self, cell: CellResult) -> Entry:
        mark = self._mark(cell.reason) if cell.verdict in TO_ACT_ON else ""
        return Entry(text=cell.shown_verdict, mark=mark)

    def _mark(self, reason: str) -> str:
        """One letter for each reason, shared by the cells that have it."""
        if reason not in self.footnotes:
            index = len(self.footnotes)
            self.footnotes[reason] = chr(ord("a") + index % 26) * (1 + index // 26)
        return self.footnotes[reason]


def spread(measured: Measured, *, compact: bool = False, signed: bool = False) -> str:
    """Mean ± standard deviation (seeds), or one value and that it is one."""
    mean = f"{measured.mean:+.2f}" if signed else f"{measured.mean:.2f}"
    if measured.sd is None:
        return mean if compact else f"{mean} (1 seed)"
    if compact:
        # No space after the sign: a narrow column then breaks before it.
        return f"{mean} ±{measured.sd:.2f}"
    return f"{mean} ± {measured.sd:.2f} ({measured.n})"


def _extra(extra: Extra | None, what: str) -> Entry:
    value = extra and (extra.published if what == "published" else extra.measured)
    return Entry(text="–" if value is None else f"{value:.2f}")


def _legend(result: TableResult, *, compact: bool) -> str:
    counts = sorted({cell.measured.n for cell in result.cells if cell.measured})
    if not counts:
        return "mIoU in percent. Nothing measured yet."
    paired = ""
    if any(cell.difference for cell in result.cells):
        paired = " Difference: in points, measured less the cell it is held against, seed by seed."
    if counts == [1]:
        return f"mIoU in percent. Measured: a single seed.{paired}"
    if compact:
        what = f"mean ± standard deviation of {counts[0]} seeds"
        return f"mIoU in percent. Measured: {what}.{paired}"
    return f"mIoU in percent. Measured: mean ± standard deviation (number of seeds).{paired}"
