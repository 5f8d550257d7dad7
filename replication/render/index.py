"""The page that lists every table of a results folder, from the tables' own JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.render.markdown import escape, pipe_table
from replication.render.points import PAGE
from replication.results import ClaimVerdict, in_words
from replication.spec.names import stem

CLAIM_VERDICTS: tuple[ClaimVerdict, ...] = ("supported", "contradicted", "undecided", "not run")


def index(tables: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown page over tables as `csv_json.to_json` writes them, whichever run wrote them."""
    notices = dict.fromkeys(table["notice"] for table in tables if table["notice"])
    claims = [claim["verdict"] for table in tables for claim in table["claims"]]
    tally = ", ".join(f"{claims.count(verdict)} {verdict}" for verdict in CLAIM_VERDICTS)
    blocks = ["# Replicated tables", *(f"> **{escape(notice)}**" for notice in notices)]
    blocks.append(f"Of {len(claims)} claims: {tally}.")
    headings = ["table", "title", "cells measured", "seeds", "verdicts", *CLAIM_VERDICTS, "files"]
    rules = [":--", ":--", "--:", "--:", ":--", *["--:"] * len(CLAIM_VERDICTS), ":--"]
    blocks.append(pipe_table(headings, rules, [_row(table) for table in tables]))
    if any(table.get("open_points") for table in tables):
        blocks.append(f"What the paper leaves open, and what was chosen: [{PAGE}]({PAGE}).")
    return "\n\n".join(blocks) + "\n"


def _row(table: Mapping[str, Any]) -> list[str]:
    name = stem(table["table"])
    ours = [cell for cell in table["cells"] if cell["verdict"] != "published only"]
    counts = sorted({cell["measured"]["n"] for cell in ours if cell["measured"]})
    done = sum(cell["measured"] is not None for cell in ours)
    shown = [
        in_words(cell["verdict"], cell["measured"]["n"] if cell["measured"] else 0)
        for cell in ours
        if cell["verdict"] != "not comparable"
    ]
    verdicts = ", ".join(f"{shown.count(verdict)} {verdict}" for verdict in dict.fromkeys(shown))
    judged = [claim["verdict"] for claim in table["claims"]]
    return [
        f"[{table['table']}]({name}.md)",
        escape(table["title"]),
        f"{done} of {len(ours)}",
        " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "–",
        verdicts or "–",
        *(str(judged.count(verdict)) for verdict in CLAIM_VERDICTS),
        " ".join(f"[{kind}]({name}.{kind})" for kind in ("csv", "json", "tex")),
    ]
