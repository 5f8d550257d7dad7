"""Every table and cell that a folder of specs has, with its published number."""

import json
from pathlib import Path

from replication.spec import load_tables
from replication.spec.names import heading


def show(folder: Path, *, as_json: bool) -> None:
    """Print them for people, or for programs."""
    tables = load_tables(folder)
    if as_json:
        shown = [
            {"table": t.key, "title": t.title, "cells": [cell.id for cell in t.cells]}
            for t in tables
        ]
        print(json.dumps(shown, indent=1))
        return
    for table in tables:
        print(f"{heading(table.key)}  {table.title}")
        for cell in table.cells:
            published = "" if cell.published is None else f"{cell.published:6.2f}"
            what = cell.unavailable or ("published only" if cell.network is None else "")
            print(f"  {cell.name:<34} {published:>6}  {what}".rstrip())
