"""The cells of a table as its file states them: a grid of two axes, or a list of rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from replication.spec.checks import (
    INVALID,
    Place,
    checked,
    fields,
    nearest,
    section,
    show,
    tables,
)
from replication.spec.claims import Text
from replication.spec.protocol import (
    EVALUATION_TYPES,
    MAIN_STAGE,
    TRAINING_TYPES,
    Changes,
    read_chain,
    read_stages,
)

Percent = Annotated[float, Field(ge=0, le=100)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]

CELL_TYPES: dict[str, Any] = {
    "id": Id,
    "label": Text,
    "method": Text,
    "published": Percent,
    "also": dict[str, float],
    "note": Text,
    "unavailable": Text,
    "needs": Literal["test labels"],
    "against": Text,
}
CELL_PARTS = ("evaluation", "stages", "chain")
METHOD_KEYS = ("id", "method", "published", "also", "note")
ID_PREFIXES = {
    "output_stride": "os",
    "last_block": "block",
    "multi_grid": "mg",
    "backbone": "",
    "batch_size": "batch",
    "replicas": "replicas",
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a grid: a field of the training and its values in the table's order."""

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How a grid table is drawn; its cells stand row by row. One axis may be missing."""

    rows: Axis | None
    columns: Axis | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of numbers; 1 along a missing axis."""
        rows, columns = (len(axis.values) if axis else 1 for axis in (self.rows, self.columns))
        return rows, columns


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A cell before its protocol is resolved: where it stands, its own keys, what it changes."""

    place: Place
    head: Mapping[str, Any]
    changes: Changes
    # The part of the place under which the changed training fields stand.
    axes: Mapping[str, str] = field(default_factory=dict)


def text(key: str, value: Any) -> str:
    """A value as a table prints it: `block4`, `(1, 2, 1)`, `ResNet-50`, `✓` for true."""
    if isinstance(value, bool):
        return "✓" if value else ""
    if key == "last_block":
        return f"block{value}"
    if key == "backbone":
        return str(value).replace("resnet", "ResNet-")
    if isinstance(value, tuple):
        return f"({', '.join(text('', one) for one in value)})" if value else ""
    if isinstance(value, float):
        return f"{value:.2f}" if key.startswith("also.") else f"{value:g}"
    return str(value)


def id_part(key: str, value: Any) -> str:
    """A field's value in a cell's id: `os16`, `block7`, `mg121`, `resnet50`, `batch4`."""
    if isinstance(value, tuple):
        joint = "" if all(isinstance(one, int) and 0 <= one < 10 for one in value) else "_"
        shown = joint.join(map(str, value))
    else:
        shown = show(value).strip('"')
    return f"{ID_PREFIXES[key]}{shown}" if key in ID_PREFIXES else f"{key}-{shown}"


def read_grid(
    place: Place, value: Any, *, published: bool = True
) -> tuple[Grid | None, list[Draft]]:
    """`[grid]`: `rows.FIELD` and/or `columns.FIELD`, and the matrix `published` (with one axis, a
    list), which must be there unless said otherwise. `also.NAME` has the shape of `published`."""
    content = section(place, value)
    parts = ("rows", "columns", "published", "also")
    fields(place, content, {}, required=("published",) if published else (), apart=parts)
    before = len(place.problems)
    rows, columns = (
        _axis(place.at(name), content[name]) if name in content else None
        for name in ("rows", "columns")
    )
    if rows is None and columns is None:
        if len(place.problems) == before:
            place.problem("must have rows.FIELD, columns.FIELD or both")
        return None, []
    if rows and columns and rows.field == columns.field:
        place.problem(f"rows and columns are both {rows.field}; must be two fields")
    if len(place.problems) > before:
        return None, []
    grid = Grid(rows=rows, columns=columns)
    stated = _numbers(place.at("published"), content.get("published"), grid, Percent)
    also = {
        name: _numbers(place.at("also").at(name), numbers, grid, float)
        for name, numbers in section(place.at("also"), content.get("also", {})).items()
    }
    drafts = []
    for index in range(grid.shape[0] * grid.shape[1]):
        row, column = divmod(index, grid.shape[1])
        chosen, stands = {}, {}
        for name, axis, i in (("rows", rows, row), ("columns", columns, column)):
            if axis is not None:
                chosen[axis.field] = axis.values[i]
                stands[axis.field] = f"grid.{name}.{axis.field}"
        cell = "-".join(id_part(key, one) for key, one in chosen.items())
        head = {
            "id": cell,
            "published": stated[index] if index < len(stated) else None,
            "also": {name: numbers[index] for name, numbers in also.items() if numbers},
        }
        drafts.append(
            Draft(place=place.item(cell), head=head, changes=Changes(training=chosen), axes=stands)
        )
    return grid, drafts


def _axis(place: Place, value: Any) -> Axis | None:
    content = section(place, value)
    if len(content) != 1:
        shown = " and ".join(content) or "none"
        place.problem(f"{shown} given; must be exactly one field of the training")
        return None
    ((name, values),) = content.items()
    at = place.at(name)
    if name not in TRAINING_TYPES:
        at.problem(f"unknown key; {nearest(name, TRAINING_TYPES)}")
        return None
    if not isinstance(values, list) or not values:
        at.problem(f"{show(values)} must be a list of values")
        return None
    valid = [checked(at.item(i), one, TRAINING_TYPES[name]) for i, one in enumerate(values)]
    if INVALID in valid:
        return None
    if len(set(valid)) < len(valid):
        at.problem(f"{show(values)} must name each value once")
        return None
    return Axis(field=name, values=tuple(valid))


def _numbers(place: Place, value: Any, grid: Grid, kind: Any) -> list[Any]:
    """A matrix of the grid's shape, row by row; [] and a problem for another."""
    height, width = grid.shape
    one_axis = grid.rows is None or grid.columns is None
    axis = grid.columns or grid.rows
    assert axis is not None
    if value is None:
        return []  # missing, and told so where it must be there
    if not isinstance(value, list):
        place.problem(f"{show(value)} must be a list of numbers")
        return []
    if one_axis:
        expected = height * width
        if len(value) != expected:
            place.problem(f"has {len(value)} numbers; must have {expected}, one a {axis.field}")
            return []
        rows = [(place, value)]
    else:
        assert grid.rows is not None
        if len(value) != height:
            place.problem(f"has {len(value)} rows; must have {height}, one a {grid.rows.field}")
            return []
        rows = [(place.item(i), row) for i, row in enumerate(value)]
    found: list[Any] = []
    for at, row in rows:
        if not one_axis and (not isinstance(row, list) or len(row) != width):
            at.problem(f"{show(row)} must be a list of {width} numbers, one a {axis.field}")
            continue
        found += [checked(at.item(i), one, kind) for i, one in enumerate(row)]
    return found if len(found) == height * width else []


def read_list(
    place: Place, value: Any, stages: Mapping[str, Any], *, published: bool = True
) -> list[Draft]:
    """`[[cells]]`: rows of ours, with the fields they change, and rows of others' methods.

    Each must state its published number, unless said otherwise; others' must in any case.
    """
    drafts = [
        _row(at, content, stages, published or "method" in content)
        for at, content in tables(place, value)
    ]
    if not drafts:
        place.problem(f"{show(value)} must have at least one cell")
    return drafts


def _row(
    at: Place, content: Mapping[str, Any], stages: Mapping[str, Any], published: bool
) -> Draft:
    types = {**CELL_TYPES, **TRAINING_TYPES}
    if "method" in content:
        for key in content:
            if key not in METHOD_KEYS and (key in types or key in CELL_PARTS):
                shown = show(content[key])
                at.at(key).problem(f"{shown} cannot stand beside method, which is published only")
        ours = {key for key in (*types, *CELL_PARTS) if key not in METHOD_KEYS}
        content = {key: one for key, one in content.items() if key not in ours}
    required = ("id", "published") if published else ("id",)
    found = fields(at, content, types, required=required, apart=CELL_PARTS)
    if "needs" in found and "unavailable" not in content:
        at.at("unavailable").problem(f"missing; needs = {show(found['needs'])} asks for the reason")
    inner = read_stages(at.at("stages"), content.get("stages", {}))
    for name in inner:
        if name not in stages and name != MAIN_STAGE:
            at.at("stages").problem(f'no stage "{name}"; {nearest(name, (MAIN_STAGE, *stages))}')
    changes = Changes(
        training={key: one for key, one in found.items() if key in TRAINING_TYPES},
        evaluation=fields(at.at("evaluation"), content.get("evaluation", {}), EVALUATION_TYPES),
        stages=inner,
        chain=read_chain(at.at("chain"), content["chain"], stages) if "chain" in content else None,
    )
    head = {key: one for key, one in found.items() if key in CELL_TYPES}
    if not isinstance(head.get("id"), str) and isinstance(content.get("id"), str):
        head["id"] = content["id"]  # told as malformed; claims may still name it
    return Draft(place=at, head=head, changes=changes)
