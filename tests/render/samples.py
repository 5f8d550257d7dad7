"""Small results made by hand, for every rendering."""

from typing import Any

from replication.results import (
    CellResult,
    CellVerdict,
    ClaimResult,
    ClaimVerdict,
    Extra,
    Grid,
    Measured,
    Pair,
    Rows,
    TableResult,
)

NOTICE = "Measured at the micro tier: a small network on a generated data set."


def cell(
    cell_id: str,
    published: float | None,
    *values: float,
    verdict: CellVerdict = "not comparable",
    **changes: Any,
) -> CellResult:
    seeds = tuple(range(len(values)))
    fields: dict[str, Any] = {
        "cell": cell_id,
        "table": 3,
        "method": "",
        "published": published,
        "bold": False,
        "measured": Measured(values=values, seeds=seeds) if values else None,
        "verdict": verdict,
        "reason": "measured at the micro tier",
        "training": tuple((f"train-{seed}",) for seed in seeds),
        "evaluation": tuple(f"evaluate-{seed}" for seed in seeds),
        "per_class": {},
        "extra": {},
        "note": "",
    }
    return CellResult(**{**fields, **changes})


def claim(verdict: ClaimVerdict, **changes: Any) -> ClaimResult:
    pair = Pair(a="b7", b="b4", published=7.37, measured=2.0, low=0.31, high=3.69, n=3)
    fields: dict[str, Any] = {
        "says": "Going deeper (r1, r2, r3) improves.",
        "where": "section 4.2",
        "kind": "greater",
        "verdict": verdict,
        "pairs": (pair,),
        "basis": "b7 − b4 = +2.00 [+0.31, +3.69], 3 seeds; the paper's +7.37.",
        "n": 3,
        "p": 0.012,
        "level": 0.025,
        "smallest": 1.5,
    }
    return ClaimResult(**{**fields, **changes})


def table(*cells: CellResult, layout: Grid | Rows, **changes: Any) -> TableResult:
    fields: dict[str, Any] = {
        "table": 3,
        "title": "Multi-grid and depth",
        "source": "arXiv:1706.05587, Table 3",
        "tier": "micro",
        "comparable": False,
        "notice": NOTICE,
        "cells": cells,
        "claims": (),
        "notes": (),
        "layout": layout,
    }
    return TableResult(**{**fields, **changes})


def grid_table(**changes: Any) -> TableResult:
    """Two multi-grids by two depths: three seeds, a failure, one seed, nothing."""
    layout = Grid(
        row_heading="multi_grid",
        column_heading="last block",
        columns=("block4", "block7"),
        rows=(("(1, 1, 1)", ("a4", "a7")), ("(1, 2, 1)", ("b4", "b7"))),
    )
    fields: dict[str, Any] = {"layout": layout, "claims": (claim("supported"), claim("not run"))}
    cells = (
        cell("a4", 68.39, 30.0, 31.0, 32.0, per_class={"background": 80.25, "bicycle": None}),
        cell("a7", 75.76, 33.5, verdict="failed", reason="seed 1: loss is nan at iteration 17"),
        cell("b4", 70.2, 30.5),
        cell("b7", 76.66, verdict="not run", reason="no run has finished", bold=True),
    )
    return table(*cells, **{**fields, **changes})


def rows_table(**changes: Any) -> TableResult:
    """Ticks, as in Tables 4 and 5."""
    layout = Rows(
        headings=("ASPP rates", "MS", "Flip"),
        rows=(("plain", ("(6, 12, 18)", False, False)), ("both", ("(6, 12, 18)", True, True))),
    )
    cells = (cell("plain", 76.66, 36.0, 36.5), cell("both", 79.35, 37.0, 38.0, bold=True))
    return table(*cells, **{"table": 4, "layout": layout, **changes})


def wide_table() -> TableResult:
    """Table 5: more columns of ticks than a narrow terminal holds."""
    rates = ("(6, 12, 18)", "(6, 12, 18, 24)")
    headings = (
        *(f"MG ({unit_rates})" for unit_rates in ("1, 1, 1", "1, 2, 1", "1, 2, 4")),
        *(f"ASPP {rate}" for rate in rates),
        "Image pooling",
    )
    ticks = (False, False, True, True, False, True)
    layout = Rows(headings=headings, rows=(("mg124", ticks), ("pooling", ticks)))
    cells = (cell("mg124", 76.58, 36.11, 36.92), cell("pooling", 77.21, 37.28, 38.16))
    return table(*cells, table=5, layout=layout)


def one_axis_table() -> TableResult:
    """Table 11: one axis, and a second quantity."""
    layout = Grid(
        row_heading="", column_heading="replicas", columns=("1", "2"), rows=(("", ("r1", "r2")),)
    )
    cells = (
        cell("r1", 77.21, 40.0, extra={"relative_time": Extra(published=1.0, measured=1.0)}),
        cell("r2", 77.15, 39.0, extra={"relative_time": Extra(published=0.5, measured=None)}),
    )
    return table(*cells, table=11, layout=layout)


def quoted_table() -> TableResult:
    """Table 7: other groups' numbers with one decimal, and what cannot be measured."""
    layout = Rows(headings=("method",), rows=(("psp", ("PSPNet",)), ("jft", ("DeepLabv3-JFT",))))
    cells = (
        cell("psp", 85.4, verdict="published only", reason="quoted"),
        cell("jft", 86.9, verdict="unavailable", reason="JFT-300M is not public", bold=True),
    )
    return table(*cells, table=7, layout=layout)
