"""Layouts of the paper's kinds of tables, by hand."""

from replication.arrangement import arranged
from replication.results import Grid, Rows
from replication.spec import Axis, Cell, Column
from replication.spec import Grid as SpecGrid
from tests.test_verdict import ours, table


def test_layout_of_two_axes():
    cells = tuple(ours(name) for name in "abcdef")
    grid = SpecGrid(
        rows=Axis(field="multi_grid", values=((1, 1, 1), (1, 2, 4))),
        columns=Axis(field="last_block", values=(4, 5, 7)),
    )
    assert arranged(table(cells=cells, grid=grid)) == Grid(
        row_heading="multi grid",
        column_heading="last block",
        columns=("block4", "block5", "block7"),
        rows=(("(1, 1, 1)", ("a", "b", "c")), ("(1, 2, 4)", ("d", "e", "f"))),
    )


def test_layout_of_one_axis_across_and_down():
    axis = Axis(field="output_stride", values=(8, 16))
    across = arranged(table(grid=SpecGrid(rows=None, columns=axis)))
    assert across == Grid(
        row_heading="",
        column_heading="output stride",
        columns=("8", "16"),
        rows=(("", ("a", "b")),),
    )
    down = arranged(table(grid=SpecGrid(rows=axis, columns=None)))
    assert down == Rows(headings=("output stride",), rows=(("a", ("8",)), ("b", ("16",))))


def test_layout_of_columns_with_ticks():
    columns = (
        Column(title="MG", key="multi_grid", tick=(1, 1, 1)),
        Column(title="MG other", key="multi_grid", tick_unless=(1, 1, 1)),
        Column(title="Block", key="last_block"),
        Column(title="Method", key="label"),
        Column(title="Time", key="also.relative_time"),
    )
    other = Cell(id="b", table=5, method="PSPNet", published=85.4)
    layout = arranged(table(cells=(ours("a"), other), columns=columns))
    assert isinstance(layout, Rows)
    assert layout.headings == ("MG", "MG other", "Block", "Method")
    assert layout.rows[0] == ("a", (True, False, "block4", "a"))
    assert layout.rows[1][1][-1] == "PSPNet"
