"""Results drawn: for the terminal, and as Markdown, LaTeX, CSV and JSON files."""

import json
from pathlib import Path

from replication.files import write_atomically
from replication.render.csv_json import to_csv, to_json
from replication.render.index import index
from replication.render.latex import latex
from replication.render.markdown import markdown
from replication.render.terminal import terminal
from replication.results import TableResult
from replication.spec.names import order, stem

__all__ = ["summary", "terminal", "write"]


def write(result: TableResult, folder: Path) -> list[Path]:
    """Write tableNN.md, .csv, .json and .tex, or NAME.*, into the folder; returns their paths."""
    # All are drawn before the first is written, so that a fault leaves the old files together.
    drawn = {
        "md": markdown(result),
        "csv": to_csv(result),
        "json": to_json(result),
        "tex": latex(result),
    }
    name = stem(result.table)
    return [write_atomically(folder / f"{name}.{kind}", text) for kind, text in drawn.items()]


def summary(folder: Path) -> Path:
    """Write index.md over every table in the folder, whichever run wrote it."""
    tables = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    tables.sort(key=lambda table: order(table["table"]))
    return write_atomically(folder / "index.md", index(tables))
