"""How a table is laid out: where the paper prints each of its cells."""

from replication.results import Grid, Rows, words
from replication.spec import Axis, Cell, Column, Table, text


def arranged(table: Table) -> Grid | Rows:
    """As the paper prints it: two axes, one axis across or down, or rows with columns of ticks."""
    ids = [cell.id for cell in table.cells]
    if table.grid is not None and table.grid.columns is not None:
        down, across = table.grid.rows, table.grid.columns
        width = len(across.values)
        names = _names(down) if down else [""]
        return Grid(
            row_heading=words(down.field) if down else "",
            column_heading=words(across.field),
            columns=tuple(_names(across)),
            rows=tuple(
                (name, tuple(ids[width * row : width * (row + 1)]))
                for row, name in enumerate(names)
            ),
        )
    # What stands beside the mIoU in the paper is drawn with its measured counterpart.
    columns = [column for column in table.columns if not column.key.startswith("also.")]
    if columns:
        return Rows(
            headings=tuple(column.title for column in columns),
            rows=tuple(
                (cell.id, tuple(_shown(column, cell) for column in columns)) for cell in table.cells
            ),
        )
    if table.grid is not None and table.grid.rows is not None:
        names, heading = _names(table.grid.rows), words(table.grid.rows.field)
    else:
        names, heading = [cell.label or cell.method or cell.id for cell in table.cells], "cell"
    return Rows(
        headings=(heading,),
        rows=tuple((cell_id, (name,)) for cell_id, name in zip(ids, names, strict=True)),
    )


def _names(axis: Axis) -> list[str]:
    return [text(axis.field, value) for value in axis.values]


def _shown(column: Column, cell: Cell) -> str | bool:
    if column.key == "label":
        return cell.label or cell.method or cell.id
    shown = column.text(cell)
    if shown == "✓":
        return True
    ticks = column.tick is not None or column.tick_unless is not None
    return False if ticks else shown
