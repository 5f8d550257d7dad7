"""How tables are called, and specs of one's own beside the paper's."""

from pathlib import Path

import pytest

from replication.errors import SpecError
from replication.spec import load_tables
from replication.spec.names import cell_name, heading, listed, order, parse, stem
from tests.spec_samples import GRID, LIST, changed, folder, problems  # noqa: F401

OWN = """\
name = "mine"
title = "Variants"
source = "one's own"

[[cells]]
id = "base"

[[cells]]
id = "wet"
against = "base"
dropout = 0.5
"""


def test_the_papers_go_by_number_and_others_by_name() -> None:
    assert [parse(text) for text in ("3", "03", "ledger", "-1", "²")] == [3, 3, "ledger", "-1", "²"]
    assert [cell_name(3, "os8"), cell_name("ledger", "base")] == ["table3/os8", "ledger/base"]
    assert [stem(3), stem(13), stem("ledger")] == ["table03", "table13", "ledger"]
    assert [heading(3), heading("ledger")] == ["Table 3", "Ledger"]
    assert listed(sorted(["b", 10, "a", 9], key=order)) == "9, 10, a, b"


def test_a_spec_of_ones_own(folder: Path) -> None:
    (folder / "mine.toml").write_text(OWN)
    (folder / "table5.toml").write_text(LIST)
    (folder / "a.toml").write_text(changed(GRID, "number = 3", 'name = "a"'))
    assert [(table.key, table.number) for table in load_tables(folder)] == [
        (5, 5), ("a", None), ("mine", None),
    ]  # fmt: skip
    (mine,) = load_tables(folder, ["mine"])
    base, wet = mine.cells
    assert (base.name, base.published, base.against) == ("mine/base", None, None)
    assert (wet.name, wet.table, wet.against) == ("mine/wet", "mine", "base")
    with pytest.raises(SpecError, match=r"^tables: no table their; known: 5, a, mine$"):
        load_tables(folder, ["their"])


def test_a_grid_of_ones_own_needs_no_published_numbers(folder: Path) -> None:
    text = changed(GRID, "number = 3", 'name = "mine"')
    start, end = text.index("published"), text.index("[[claims]]")
    (folder / "mine.toml").write_text(text[:start] + text[end:])
    (table,) = load_tables(folder)
    assert {cell.published for cell in table.cells} == {None}


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        ("mine", 'name = "mine"', 'name = "mien"', 'name: "mien" must be that of its file, "mine"'),
        ("mine", 'name = "mine"', "name = 3", "name: 3 must be a string"),
        (
            "mine",
            'name = "mine"',
            "",
            'name: missing; a spec of one\'s own states name = "mine", a table of the paper is in '
            "a file named table*.toml",
        ),
        (
            "mine",
            'name = "mine"',
            'name = "mine"\nnumber = 3',
            "number and name given; a table of the paper has a number, others a name",
        ),
        *(
            (
                name,
                'name = "mine"',
                f'name = "{name}"',
                f'name: "{name}" must be a word in lower case, not "index", and not begin with '
                '"table"',
            )
            for name in ("Mine", "open-points", "index", "table14")
        ),
        (
            "mine",
            'against = "base"',
            'against = "bass"',
            'cells[1].against: no cell "bass" of ours; the nearest known is "base"',
        ),
        (
            "mine",
            'against = "base"',
            'against = "wet"',
            'cells[1].against: "wet" is compared with itself',
        ),
        (
            "mine",
            "dropout = 0.5",
            'method = "PSPNet"\npublished = 85.4',
            'cells[1].against: "base" cannot stand beside method, which is published only',
        ),
        (
            "mine",
            'against = "base"\ndropout = 0.5',
            'method = "PSPNet"',
            "cells[1].published: missing; this key is required",
        ),
    ],
)
def test_a_mistake(folder: Path, file: str, old: str, new: str, line: str) -> None:
    told = problems(folder, changed(OWN, old, new), f"{file}.toml")
    assert told == [f"tables/{file}.toml: {line}"]


def test_a_table_of_the_paper_needs_its_number(folder: Path) -> None:
    told = problems(folder, changed(LIST, "number = 5", ""), "table05.toml")
    assert told == ["tables/table05.toml: number: missing; this key is required"]
