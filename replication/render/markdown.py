"""A table's result as Markdown (GitHub's dialect)."""

import re
from collections.abc import Iterable, Sequence

from replication.render.layout import Entry, Sheet, lay_out
from replication.render.points import LEFT_OPEN, PAGE, Said, alike, some
from replication.results import TableResult
from replication.spec.names import heading

RULES = {"left": ":--", "center": ":-:", "right": "--:"}


def markdown(result: TableResult) -> str:
    sheet = lay_out(result)
    blocks = [
        f"# {heading(result.table)}. {escape(result.title)}",
        f"Source: {escape(result.source)}.",
    ]
    if result.notice:
        blocks.append(f"> **{escape(result.notice)}**")
    blocks += [_table(sheet), escape(sheet.legend)]
    blocks += [f"<sup>{mark}</sup> {escape(text)}" for mark, text in sheet.footnotes]
    blocks += [f"<sup>{number}</sup> Left open: {_said(one)}" for number, one in some(result)]
    blocks += [escape(note) for note in _notes(result)]
    if listed := alike(result):
        blocks.append(f"{LEFT_OPEN}: {'; '.join(map(_said, listed))}. Reasons: [{PAGE}]({PAGE}).")
    if result.claims:
        blocks += ["## What the paper says, and what was measured", _claims(result)]
    if result.comparable:
        judged = [c for c in result.cells if c.measured and c.reason]
        if judged:
            lines = [f"- `{c.cell}`: {c.verdict}; {escape(c.reason)}" for c in judged]
            blocks += ["## What each verdict rests on", "\n".join(lines)]
    if any(cell.per_class for cell in result.cells):
        blocks += ["## IoU by class, in percent", _per_class(result)]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a paragraph and in a table."""
    text = re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;")


def pipe_table(headings: Sequence[str], rules: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already, padded so that the source reads too."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(headings))]
    padded = [
        "| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    marks = [
        rule.replace("--", "-" * (width - rule.count(":")))
        if rule != ":-:"
        else f":{'-' * (width - 2)}:"
        for rule, width in zip(rules, widths, strict=True)
    ]
    return "\n".join([padded[0], "| " + " | ".join(marks) + " |", *padded[1:]])


def _table(sheet: Sheet) -> str:
    return pipe_table(
        [escape(heading) for heading in sheet.headings],
        [RULES[align] for align in sheet.align],
        [[_entry(entry) for entry in row] for group in sheet.groups for row in group],
    )


def _entry(entry: Entry) -> str:
    text = "✓" if entry.tick else escape(entry.text)
    if entry.bold:
        text = f"**{text}**"
    return f"{text} <sup>{entry.marks}</sup>" if entry.marks else text


def _said(one: Said) -> str:
    value = f"`{one.value}`" if one.code else escape(one.value)
    return f"{escape(one.topic)}: {value} {escape(one.rest)}".rstrip()


def _notes(result: TableResult) -> list[str]:
    named = [f"{cell.cell}: {cell.note}" for cell in result.cells if cell.note]
    return [*result.notes, *named]


def _claims(result: TableResult) -> str:
    return "\n".join(
        f"- **{claim.shown_verdict}**: “{escape(claim.says)}” ({escape(claim.where)})  \n"
        f"  {escape(claim.basis)}"
        for claim in result.claims
    )


def _per_class(result: TableResult) -> str:
    cells = [cell for cell in result.cells if cell.per_class]
    classes = dict.fromkeys(name for cell in cells for name in cell.per_class)
    rows = [
        [escape(name), *(_number(cell.per_class.get(name)) for cell in cells)] for name in classes
    ]
    headings = ["class", *(escape(cell.cell) for cell in cells)]
    return pipe_table(headings, [":--", *["--:"] * len(cells)], rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
