"""A table's result for other programs: one CSV row a cell, and all of it as JSON."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from replication.results import CellResult, Grid, Measured, TableResult

# Of a table with variants of cells: the differences in points, seed by seed.
VARIANTS = ("against", "difference_mean", "difference_sd", "difference_n")


def to_csv(result: TableResult) -> str:
    axes, values = _axes(result)
    extras = list(dict.fromkeys(name for cell in result.cells for name in cell.extra))
    variants = any(cell.against for cell in result.cells)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("table", "cell"),
            *axes,
            *("published", "measured_mean", "measured_sd", "n", "verdict", "reason"),
            *(VARIANTS if variants else ()),
            *(f"{name}_{what}" for name in extras for what in ("published", "measured")),
        ]
    )
    for cell in result.cells:
        measured = cell.measured
        further = [cell.extra.get(name) for name in extras]
        writer.writerow(
            [
                *(result.table, cell.cell),
                *values[cell.cell],
                *(cell.published, measured and measured.mean, measured and measured.sd),
                *(measured.n if measured else 0, cell.verdict, cell.reason),
                *(_variant(cell) if variants else ()),
                *(
                    value
                    for extra in further
                    for value in ((extra.published, extra.measured) if extra else (None, None))
                ),
            ]
        )
    return text.getvalue()


def _variant(cell: CellResult) -> tuple[Any, ...]:
    found = cell.difference
    return cell.against, found and found.mean, found and found.sd, found.n if found else 0


def _axes(result: TableResult) -> tuple[list[str], dict[str, list[str]]]:
    """The names of the axes, and where each cell stands on them."""
    layout = result.layout
    if isinstance(layout, Grid):
        positions = {
            cell_id: ([row] if layout.row_heading else []) + [column]
            for row, ids in layout.rows
            for column, cell_id in zip(layout.columns, ids, strict=True)
            if cell_id is not None
        }
        row_axis = [layout.row_heading] if layout.row_heading else []
        return [*row_axis, layout.column_heading], positions
    return list(layout.headings), {
        cell_id: [("yes" if v else "no") if isinstance(v, bool) else v for v in values]
        for cell_id, values in layout.rows
    }


def to_json(result: TableResult) -> str:
    """Strict JSON: no NaN, no infinity."""
    content = {
        "table": result.table,
        "title": result.title,
        "source": result.source,
        "tier": result.tier,
        "comparable": result.comparable,
        "notice": result.notice,
        "cells": [_cell(cell) for cell in result.cells],
        "claims": [asdict(claim) for claim in result.claims],
        "open_points": [asdict(point) for point in result.open_points],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _cell(cell: CellResult) -> dict[str, Any]:
    return {
        "cell": cell.cell,
        "published": cell.published,
        "measured": cell.measured and _measured(cell.measured),
        "verdict": cell.verdict,
        "reason": cell.reason,
        "training": cell.training,
        "evaluation": cell.evaluation,
        "per_class": dict(cell.per_class),
        "extra": {name: asdict(extra) for name, extra in cell.extra.items()},
        "entered": [asdict(score) for score in cell.entered],
        "against": cell.against,
        "difference": cell.difference and _measured(cell.difference),
    }


def _measured(measured: Measured) -> Mapping[str, Any]:
    return {
        "mean": measured.mean,
        "sd": measured.sd,
        "n": measured.n,
        "values": measured.values,
        "seeds": measured.seeds,
    }
