"""A table's result on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from replication.render.layout import Align, Entry, Sheet, lay_out
from replication.render.points import COMMAND, count, some
from replication.results import TableResult
from replication.spec.names import heading as heading_of

STYLES = {
    "supported": "green",
    "reproduced": "green",
    "contradicted": "red",
    "failed": "red",
    "below": "red",
    "suspect": "red",
    "above": "yellow",
    "undecided": "yellow",
    "inconclusive": "yellow",
    "not run": "dim",
    "unavailable": "dim",
    "published": "dim",
}


def terminal(result: TableResult, console: Console) -> None:
    """Print it; colours add nothing that the words do not say."""
    sheet = lay_out(result, compact=True)
    parts: list[Text | Table | Padding] = [
        Text(),
        Text(f"{heading_of(result.table)}. {result.title}", style="bold"),
        Text(result.source, style="dim"),
    ]
    if result.notice:
        parts.append(Text(result.notice, style="yellow"))
    parts += [_table(sheet, console.width), Text(sheet.legend, style="dim")]
    parts += [Text(f"({mark}) {text}", style="dim") for mark, text in sheet.footnotes]
    parts += [
        Text(f"[{number}] left open: {one.plain}", style="dim") for number, one in some(result)
    ]
    parts += [Text(note, style="dim") for note in result.notes]
    parts += [Text(f"{c.cell}: {c.note}", style="dim") for c in result.cells if c.note]
    if result.open_points:
        parts.append(Text(f"open points: {count(result)}; `{COMMAND}` has them", style="dim"))
    for claim in result.claims:
        said = Text.assemble(
            (claim.shown_verdict, f"bold {STYLES[claim.verdict]}"),
            f": “{claim.says}” ",
            (f"({claim.where})", "dim"),
        )
        parts += [Text(), said, Padding(Text(claim.basis), (0, 0, 0, 2))]
    console.print(Group(*parts), highlight=False)


def _table(sheet: Sheet, room: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    rows = [row for group in sheet.groups for row in group]
    # Columns of ticks are as wide as their heading: "MG (1, 2, 4)" takes two lines.
    headings = [
        heading.replace(" (", "\n(") if align == "center" else heading
        for heading, align in zip(sheet.headings, sheet.align, strict=True)
    ]
    texts = [
        [heading, *(_entry(row[index]).plain for row in rows)]
        for index, heading in enumerate(headings)
    ]
    widths = _widths(texts, sheet.align, room - 2 * len(headings) - 2)
    for heading, align, width in zip(headings, sheet.align, widths, strict=True):
        table.add_column(Text(heading), justify=align, width=width)
    for group in sheet.groups:
        for row in group:
            table.add_row(*map(_entry, row))
        table.add_section()
    return table


def _widths(texts: Sequence[Sequence[str]], align: Sequence[Align], room: int) -> list[int]:
    """Column widths for a narrow terminal: words wrap, and none is cut.

    Numbers are kept on one line if all of them can be; the other columns share what is left.
    """
    natural = [max(len(line) for text in column for line in text.split("\n")) for column in texts]
    widths = [
        max(len(word) for text in column for word in text.split() or [""]) for column in texts
    ]
    widened = [n if a == "right" else w for n, w, a in zip(natural, widths, align, strict=True)]
    if sum(widened) <= room:
        widths = widened
    growing = [index for index, each in enumerate(align) if each != "right"]
    while sum(widths) < room:
        short = [index for index in growing if widths[index] < natural[index]]
        if not short:
            break
        widths[min(short, key=lambda index: widths[index])] += 1
    return widths


def _entry(entry: Entry) -> Text:
    # "below (single seed)" is below.
    style = STYLES.get(entry.text.partition(" (")[0], "")
    text = Text("✓" if entry.tick else entry.text, style=style)
    if entry.bold:
        text.stylize("bold")
    if entry.mark:
        text.append(f" ({entry.mark})")
    # In other brackets than the letters and the seeds.
    return text.append(f" [{','.join(map(str, entry.points))}]") if entry.points else text
