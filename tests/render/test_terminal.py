"""The terminal's text, at several widths."""

import io

import pytest
from rich.console import Console

from replication.render import terminal
from replication.results import TableResult
from tests.render.samples import (
    claim,
    grid_table,
    one_axis_table,
    quoted_table,
    rows_table,
    wide_table,
)


def shown(result: TableResult, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    terminal(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(text: str, *words: str) -> str:
    return next(one for one in text.splitlines() if all(word in one for word in words))


def test_a_grid():
    text = shown(grid_table())
    assert line(text, "(1, 2, 1)").split() == ["(1,", "2,", "1)", "published", "70.20", "76.66"]
    assert "31.00 ± 1.00 (3)" in text and "30.50 (1 seed)" in text
    assert "failed (a)" in text and "(a) seed 1: loss is nan at iteration 17" in text
    assert "Measured at the micro tier" in text
    assert "supported: “Going deeper (r1, r2, r3) improves.” (section 4.2)" in text
    assert "+2.00 [+0.31, +3.69], 3 seeds" in text


def test_seeds_that_all_cells_share_are_said_once():
    text = shown(rows_table())
    assert "36.25 ±0.35" in text and "(2)" not in text
    assert "mean ± standard deviation of 2 seeds" in text
    assert line(text, "79.35").count("✓") == 2
    assert "a single seed" in shown(one_axis_table())


def test_brackets_are_text_and_not_markup():
    text = shown(
        rows_table(title="[bold]x[/bold] [/]", claims=(claim("contradicted", says="[red]"),))
    )
    assert "[bold]x[/bold] [/]" in text and "“[red]”" in text


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("make", [grid_table, rows_table, one_axis_table, quoted_table, wide_table])
def test_no_number_is_cut_at_any_width(make, width):
    result = make()
    text = shown(result, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for cell in result.cells:
        assert str(cell.published) in text
        if cell.measured and cell.verdict != "failed":
            assert cell.measured.sd is None or f"{cell.measured.sd:.2f}" in text
            assert f"{cell.measured.mean:.2f}" in text
