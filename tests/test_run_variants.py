"""The command on specs beside the paper's tables."""

import csv
import json
from pathlib import Path

import pytest

from replication.run import main

HERE = Path(__file__).resolve().parents[1]

MINE = """\
name = "mine"
title = "Two readings"
source = "one's own"

[[cells]]
id = "base"

[[cells]]
id = "resized"
against = "base"
evaluation = { whole_image = "resized" }
note = "As others do."
"""


def planned(capsys, *arguments):
    assert main([*arguments, "--tier", "smoke", "--dry-run", "--json"]) == 0
    return [(cell["table"], cell["cell"]) for cell in json.loads(capsys.readouterr().out)["cells"]]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    return ["--results", str(tmp_path / "results")]


def test_all_are_the_papers_and_others_run_where_they_are_named(results, capsys):
    every = planned(capsys, "--all", *results)
    assert len(every) == 74 and {table for table, _ in every} == set(range(1, 14))
    ledger = planned(capsys, "--table", "ledger", *results)
    assert {table for table, _ in ledger} == {"ledger"} and ("ledger", "base") in ledger
    assert planned(capsys, "--table", "9", "--cell", "ledger/dropout-0.5", *results) == [
        *((9, f"batch{size}") for size in (4, 8, 12, 16)), ("ledger", "dropout-0.5"),
    ]  # fmt: skip
    both = planned(capsys, "--all", "--cell", "ledger/base", *results)
    assert both == [*every, ("ledger", "base")]


def test_list_has_them_last(capsys):
    assert main(["--list", "--json"]) == 0
    listed = [table["table"] for table in json.loads(capsys.readouterr().out)]
    assert listed == [*range(1, 14), "ledger"]
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    assert text.index("Table 13") < text.index("Ledger  How far") < text.index("ledger/base")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "ledgr"], "--table ledgr: no such table; there are 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["--cell", "ledger/dropout-0.6"], 'nearest known is "ledger/dropout-0.5"'),
        (
            ["--table", "ledger", "--tier", "reduced"],
            "stride_unit is set by",
        ),
    ],
)
def test_a_mistake(arguments, said, results, capsys):
    assert main([*arguments, "--dry-run", *results]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_a_spec_of_ones_own_runs_to_results(tmp_path, results, capsys):
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "protocol.toml").write_text((HERE / "tables/protocol.toml").read_text())
    (tables / "mine.toml").write_text(MINE)
    arguments = ["--tables", str(tables), "--tier", "smoke", *results]
    assert main([*arguments, "--table", "mine", "--workers", "1"]) == 0
    folder = tmp_path / "results/smoke/tables"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "index.md",
        "open-points.md",
        *(f"mine.{kind}" for kind in ("md", "csv", "json", "tex")),
    }
    base, resized = csv.DictReader((folder / "mine.csv").read_text().splitlines())
    difference = float(resized["measured_mean"]) - float(base["measured_mean"])
    assert float(resized["difference_mean"]) == difference
    assert resized["against"] == "base" and base["difference_n"] == "0"
    page = (folder / "open-points.md").read_text()
    assert "`tables/mine.toml` (resized: resized)" in page
    # The paper's tables are not here, and their open points neither.
    assert "MS-COCO" not in page and "## Momentum" in page
    text = (folder / "mine.md").read_text()
    assert "Left open: evaluation size: `resized` (set by tables/mine.toml" in text
    assert "mine" in (folder / "index.md").read_text()
    # --all is the paper's tables: here there are none.
    assert main([*arguments, "--all"]) == 2
    assert "nothing to do" in capsys.readouterr().err
