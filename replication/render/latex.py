"""A table's result as LaTeX, to \\input: needs the packages booktabs and amssymb."""

import re
import unicodedata

from replication.render.layout import Entry, Sheet, lay_out
from replication.render.points import LEFT_OPEN, alike, some
from replication.results import TableResult
from replication.spec.names import stem

COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # After \\ and \item these would be read as an option.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "µ": r"$\mu$",
    "§": r"\S{}",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "✓": r"\checkmark{}",
}
ALIGN = {"left": "l", "center": "c", "right": "r"}


def latex(result: TableResult) -> str:
    sheet = lay_out(result)
    listed = "; ".join(one.plain for one in alike(result))
    below = [
        *([result.notice] if result.notice else []),
        sheet.legend,
        *result.notes,
        *(f"{cell.cell}: {cell.note}" for cell in result.cells if cell.note),
        *([f"{LEFT_OPEN}: {listed}."] if listed else []),
    ]
    marked = [*sheet.footnotes, *((str(n), f"left open: {one.plain}") for n, one in some(result))]
    lines = [
        r"% \usepackage{booktabs,amssymb}",
        r"\begin{table}[tbp]",
        r"\centering",
        rf"\caption{{{escape(result.title)} ({escape(result.source)}).}}",
        rf"\label{{tab:replication-{stem(result.table).removeprefix('table')}}}",
        *_tabular(sheet),
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize",
        *(rf"{escape(text)}\par" for text in below),
        *(rf"\textsuperscript{{{mark}}}~{escape(text)}\par" for mark, text in marked),
        r"\end{minipage}",
        r"\end{table}",
    ]
    if result.claims:
        lines += ["", r"\begin{itemize}", *_claims(result), r"\end{itemize}"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, in ASCII and Latin letters that every engine knows."""
    return "".join(map(_character, " ".join(text.split())))


def _character(character: str) -> str:
    if character in COMMANDS:
        return COMMANDS[character]
    if ord(character) < 128 or re.match(r"[À-ÖØ-öø-ÿ]", character):
        return character
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(COMMANDS.get(c, c) for c in plain) or "?"


def _tabular(sheet: Sheet) -> list[str]:
    align = "".join(ALIGN[each] for each in sheet.align)
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule"]
    lines.append(" & ".join(escape(heading) for heading in sheet.headings) + r" \\")
    lines.append(r"\midrule")
    for index, group in enumerate(sheet.groups):
        if index:
            lines.append(r"\addlinespace")
        lines += [" & ".join(map(_entry, row)) + r" \\" for row in group]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _entry(entry: Entry) -> str:
    text = r"\checkmark" if entry.tick else escape(entry.text)
    if entry.bold:
        text = rf"\textbf{{{text}}}"
    return text + rf"\textsuperscript{{{entry.marks}}}" if entry.marks else text


def _claims(result: TableResult) -> list[str]:
    return [
        rf"\item \textbf{{{claim.shown_verdict}}}: ``{escape(claim.says)}'' "
        rf"({escape(claim.where)}). {escape(claim.basis)}"
        for claim in result.claims
    ]
