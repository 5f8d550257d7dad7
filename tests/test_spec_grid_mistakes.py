"""Malformed grids, the specs of tables by rows and columns: one line for each mistake."""

from pathlib import Path

import pytest

from tests.spec_samples import GRID, changed, folder, problems  # noqa: F401

# (what changes in GRID, what it becomes, the last line after "tables/table.toml: ")
GRID_MISTAKES = [
    ("  [70.0, 76.5],\n", "", "grid.published: has 1 rows; must have 2, one a multi_grid"),
    (
        "[70.0, 76.5]",
        "[70.0]",
        "grid.published[1]: [70.0] must be a list of 2 numbers, one a last_block",
    ),
    (
        "[70.0, 76.5]",
        "[70.0, 765]",
        "grid.published[1][1]: 765 must be a number from 0 to 100",
    ),
    (
        "columns.last_block = [4, 7]",
        "columns.last_blok = [4, 7]",
        'grid.columns.last_blok: unknown key; the nearest known is "last_block"',
    ),
    (
        "columns.last_block = [4, 7]",
        "columns.last_block = [4, 9]",
        "grid.columns.last_block[1]: 9 must be a whole number from 4 to 7",
    ),
    (
        "columns.last_block = [4, 7]",
        "columns.last_block = [4, 4]",
        "grid.columns.last_block: [4, 4] must name each value once",
    ),
    (
        "columns.last_block = [4, 7]",
        "columns.last_block = 4",
        "grid.columns.last_block: 4 must be a list of values",
    ),
    (
        "columns.last_block = [4, 7]",
        "columns.last_block = [4, 7]\ncolumns.flip = [true, false]",
        "grid.columns: last_block and flip given; must be exactly one field of the training",
    ),
    (
        "columns.last_block = [4, 7]",
        "columns.multi_grid = [[1, 1, 1], [1, 2, 1]]",
        "grid: rows and columns are both multi_grid; must be two fields",
    ),
    (
        "[[1, 1, 1], [1, 2, 1]]",
        "[[1, 1, 1], [1, 2]]",
        "grid.rows.multi_grid[1]: [1, 2] must be a list of 3: each a whole number of at least 1",
    ),
    (
        'best = "mg121-block7"',
        'best = "mg121-block6"',
        'claims[0].best: no cell "mg121-block6"; the nearest known is "mg121-block7"',
    ),
    (
        'best = "mg121-block7"',
        'best = "mg121-block7"\namong = ["mg121-block7"]',
        'claims[0].best: "mg121-block7" leaves no other cell to compare with',
    ),
    (
        'best = "mg121-block7"',
        'order = ["mg121-block7"]',
        'claims[0].order: ["mg121-block7"] must be a list of at least 2, each a string',
    ),
    ("[grid]", "[gird]", "must have either [grid] or [[cells]]"),
]


@pytest.mark.parametrize(("old", "new", "line"), GRID_MISTAKES)
def test_a_mistake_in_a_grid(folder: Path, old: str, new: str, line: str) -> None:
    told = problems(folder, changed(GRID, old, new))
    assert told[-1] == f"tables/table.toml: {line}"
    if new == "[gird]":
        assert told[0] == 'tables/table.toml: gird: unknown key; the nearest known is "grid"'
    else:
        assert len(told) == 1
