"""Variants and what the paper leaves open, in every rendering."""

import csv
import io
import json
import re

import pytest
from rich.console import Console

from replication import render
from replication.render.csv_json import to_csv, to_json
from replication.render.latex import latex
from replication.render.markdown import markdown
from replication.render.terminal import terminal
from replication.results import Measured, OpenPoint, Rows, TableResult
from tests.render.samples import cell, grid_table, rows_table, table
from tests.render.test_markdown import tables

DECAY = OpenPoint(
    topic="BN decay", field="bn_decay", value="0.9", chosen="0.9997",
    set_by="tiers/micro.toml", cells=("base", "wet", "late"), every=True,
)  # fmt: skip
DROPOUT = OpenPoint(
    topic="Dropout after the projection", field="dropout", value="0.1", chosen="0.1", set_by="",
    cells=("base", "late"), every=True,
)  # fmt: skip
WET = OpenPoint(
    topic="Dropout after the projection", field="dropout", value="0.5", chosen="0.1",
    set_by="tables/ledger.toml", cells=("wet",), every=False,
)  # fmt: skip
SCHEDULE = OpenPoint(
    topic="Schedule on MS-COCO", field="", value="section 4.1's", chosen="section 4.1's",
    set_by="", cells=("wet", "late"), every=False,
)  # fmt: skip


def variants() -> TableResult:
    layout = Rows(
        headings=("cell",), rows=(("base", ("base",)), ("wet", ("wet",)), ("late", ("late",)))
    )
    cells = (
        cell("base", None, 70.0, 71.0),
        cell(
            "wet", None, 70.5, 72.0, against="base",
            difference=Measured(values=(0.5, 1.0), seeds=(0, 1)),
        ),
        cell("late", None, against="base", verdict="not run"),
    )  # fmt: skip
    return table(
        *cells, layout=layout, table="ledger", title="Readings",
        open_points=(DECAY, DROPOUT, WET, SCHEDULE),
    )  # fmt: skip


def printed(result: TableResult, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    terminal(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_markdown_has_differences_in_place_of_published_numbers():
    text = markdown(variants())
    assert text.startswith("# Ledger. Readings\n")
    assert tables(text)[0] == [
        ["cell", "measured", "against", "difference"],
        ["base", "70.50 ± 0.71 (2)", "", ""],
        ["wet", "71.25 ± 1.06 (2) <sup>1,2</sup>", "base", "+0.75 ± 0.35 (2)"],
        ["late", "not run <sup>2</sup>", "base", "–"],
    ]
    assert "Difference: in points, measured less the cell it is held against, seed by seed." in text


def test_a_single_seed_and_a_fall():
    result = variants()
    fallen = cell(
        "wet", None, 69.0, against="base", difference=Measured(values=(-1.0,), seeds=(0,))
    )
    cells = (result.cells[0], fallen, result.cells[2])
    layout = result.layout
    text = markdown(table(*cells, layout=layout))
    assert tables(text)[0][2][-1] == "-1.00 (1 seed)"


def test_markdown_says_what_is_left_open():
    blocks = markdown(variants()).strip().split("\n\n")
    assert (
        "Left open by the paper and chosen alike for every cell: BN decay: `0.9` (set by "
        "tiers/micro.toml; the ledger's choice is 0.9997); dropout after the projection: `0.1` "
        "(where not noted otherwise). Reasons: [open-points.md](open-points.md)." in blocks
    )
    assert (
        "<sup>1</sup> Left open: dropout after the projection: `0.5` (set by "
        "tables/ledger.toml; the ledger's choice is 0.1)" in blocks
    )
    assert "<sup>2</sup> Left open: schedule on MS-COCO: section 4.1's" in blocks


def test_latex():
    text = latex(variants())
    assert r"\label{tab:replication-ledger}" in text
    assert r"wet & 71.25 $\pm$ 1.06 (2)\textsuperscript{1,2} & base & +0.75 $\pm$ 0.35 (2)" in text
    assert r"\textsuperscript{2}~left open: schedule on MS-COCO: section 4.1's\par" in text
    assert "chosen alike for every cell: BN decay: 0.9 (set by tiers/micro.toml; " in text


@pytest.mark.parametrize("width", [60, 120])
def test_the_terminal_is_short(width):
    text = printed(variants(), width)
    flat = " ".join(text.split())
    assert "Ledger. Readings" in text and "chosen alike" not in flat
    assert "open points: 2 for every cell, 1 for some; `python -m replication.ledger`" in flat
    assert "[2] left open: schedule on MS-COCO: section 4.1's" in flat
    assert "+0.75 ±0.35" in flat and "[1,2]" in flat


def test_csv_and_json():
    rows = list(csv.DictReader(io.StringIO(to_csv(variants()))))
    keys = ("table", "against", "difference_mean", "difference_n")
    assert [[row[key] for key in keys] for row in rows] == [
        ["ledger", "", "", "0"],
        ["ledger", "base", "0.75", "2"],
        ["ledger", "base", "", "0"],
    ]
    assert "difference_mean" not in to_csv(grid_table())
    content = json.loads(to_json(variants()))
    assert content["table"] == "ledger"
    assert content["cells"][1]["difference"]["values"] == [0.5, 1.0]
    assert content["open_points"][2] == {
        "topic": "Dropout after the projection", "field": "dropout", "value": "0.5",
        "chosen": "0.1", "set_by": "tables/ledger.toml", "cells": ["wet"], "every": False,
    }  # fmt: skip


def test_letters_and_numbers_stand_side_by_side():
    point = OpenPoint(
        topic="X is open", field="", value="so", chosen="so", set_by="", cells=("a7",), every=False
    )
    result = grid_table(open_points=(point,))
    assert "failed <sup>a,1</sup>" in markdown(result)
    assert r"failed\textsuperscript{a,1}" in latex(result)
    assert re.search(r"failed \(a\)\s+\[1\]|failed\s+\(a\)\s+\[1\]", printed(result))
    # The topic's second letter is no small one: the first stays as it is.
    assert "Left open: X is open: so" in markdown(result)


def test_a_table_without_open_points_speaks_of_none():
    for text in (markdown(rows_table()), latex(rows_table()), printed(rows_table())):
        assert "open" not in text


def test_the_index_links_the_page_and_lists_names_last(tmp_path):
    for result in (variants(), grid_table(), rows_table()):
        render.write(result, tmp_path)
    text = render.summary(tmp_path).read_text()
    assert "[open-points.md](open-points.md)" in text
    assert re.findall(r"^\| \[(\w+)\]\((\w+)\.md\)", text, re.MULTILINE) == [
        ("3", "table03"), ("4", "table04"), ("ledger", "ledger"),
    ]  # fmt: skip
