"""The page that lists every table of a results folder."""

from collections.abc import Sequence

from replication.render.markdown import escape, pipe_table
from replication.results import ClaimVerdict, TableResult

CLAIM_VERDICTS: tuple[ClaimVerdict, ...] = ("holds", "fails", "undecided", "not run")


def index(results: Sequence[TableResult]) -> str:
    notices = dict.fromkeys(result.notice for result in results if result.notice)
    claims = [claim for result in results for claim in result.claims]
    tally = ", ".join(
        f"{sum(claim.verdict == verdict for claim in claims)} {word}"
        for verdict, word in zip(
            CLAIM_VERDICTS, ("hold", "fail", "undecided", "not run"), strict=True
        )
    )
    blocks = ["# Replicated tables", *(f"> **{escape(notice)}**" for notice in notices)]
    blocks.append(f"Of {len(claims)} claims: {tally}.")
    headings = ["table", "title", "tier", "cells measured", "verdicts", *CLAIM_VERDICTS, "files"]
    rules = [":--", ":--", ":--", "--:", ":--", *["--:"] * len(CLAIM_VERDICTS), ":--"]
    blocks.append(pipe_table(headings, rules, [_row(result) for result in results]))
    return "\n\n".join(blocks) + "\n"


def _row(result: TableResult) -> list[str]:
    name = f"table{result.number:02d}"
    ours = [cell for cell in result.cells if cell.verdict != "published only"]
    done = sum(cell.measured is not None for cell in ours)
    shown = [cell.verdict for cell in ours if cell.verdict != "not comparable"]
    verdicts = ", ".join(f"{shown.count(verdict)} {verdict}" for verdict in dict.fromkeys(shown))
    judged = [claim.verdict for claim in result.claims]
    return [
        f"[{result.number}]({name}.md)",
        escape(result.title),
        escape(result.tier),
        f"{done} of {len(ours)}",
        verdicts or "–",
        *(str(judged.count(verdict)) for verdict in CLAIM_VERDICTS),
        " ".join(f"[{kind}]({name}.{kind})" for kind in ("csv", "json", "tex")),
    ]
