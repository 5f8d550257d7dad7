"""Which open points touch which cells of a table, and what is in force there."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from replication.ledger import FIELDS, Point, file_of, matches, shown
from replication.results import OpenPoint
from replication.spec import Cell, Table
from replication.spec.checks import adapter
from replication.spec.protocol import effective_network, effective_stage, output_strides
from replication.tiers import Tier, scale

# Among these every numeric field finds an allowed value that is not its own.
NUMBERS = (0, 1, 2, 0.25, 0.5)

Model = TypeVar("Model", bound=BaseModel)


def open_points(table: Table, tier: Tier, points: Sequence[Point]) -> tuple[OpenPoint, ...]:
    """The points that touch the table's own cells at the tier, in the ledger's order.

    A point is one entry for all cells that have it alike. Raises SpecError as `scale` does.
    """
    cells = [scale(cell, tier) for cell in table.cells if cell.network is not None]
    found: list[OpenPoint] = []
    for point in points:
        if point.role and not _real(point.role, tier):
            continue
        standing: dict[tuple[str, str], list[str]] = {}
        for cell in cells:
            forces = _in_force(point, cell, tier)
            if forces is not None:
                standing.setdefault(forces, []).append(cell.id)
        everywhere = sum(map(len, standing.values())) == len(cells)
        # What most cells have; of as many, the ledger's own choice.
        usual = max(standing, key=lambda one: (len(standing[one]), not one[1]), default=None)
        found += [
            OpenPoint(
                topic=point.topic,
                field=point.field,
                value=value,
                chosen=point.shown_choice,
                set_by=set_by,
                cells=tuple(ids),
                every=everywhere and (value, set_by) == usual,
            )
            for (value, set_by), ids in standing.items()
        ]
    return tuple(found)


def _real(role: str, tier: Tier) -> bool:
    """Whether the role's data are real ones at the tier; ImageNet's come as trained weights."""
    return tier.weights == "torchvision" if role == "imagenet" else not tier.generated(role)


def _in_force(point: Point, cell: Cell, tier: Tier) -> tuple[str, str] | None:
    """What the cell has and the file that sets it, "" if it is the choice; None if untouched.

    A point with a field touches a cell if another value of the field would make another protocol.
    """
    if not point.field:
        return (point.shown_choice, "") if matches(point, cell) else None
    assert cell.network is not None and cell.evaluation is not None
    network, strides = cell.network, output_strides(cell.stages, cell.evaluation)
    values: dict[str, Any] = {}  # by the key that would set it
    for other in _others(point.field):
        change = {point.field: other}
        if effective_network(_with(network, change), strides) != network:
            values[point.field] = getattr(network, point.field)
        for one in cell.stages:
            if effective_stage(_with(one.stage, change)) != one.stage:
                values[f"stages.{one.name}.{point.field}"] = getattr(one.stage, point.field)
        if _with(cell.evaluation, change) != cell.evaluation:
            values[f"evaluation.{point.field}"] = getattr(cell.evaluation, point.field)
    if not values:
        return None
    said = " then ".join(dict.fromkeys(map(shown, values.values())))
    odd = [key for key, value in values.items() if value != point.choice]
    return said, _set_by(odd[0], cell, tier) if odd else ""


def _with(model: Model, change: Mapping[str, Any]) -> Model:
    known = {name: value for name, value in change.items() if name in type(model).model_fields}
    return model.model_copy(update=known)


@cache
def _others(field: str) -> tuple[Any, ...]:
    """Values that the field may have: at least one is not the one that it has."""
    kind = FIELDS[field]
    candidates = get_args(kind) if get_origin(kind) is Literal else (True, False, *NUMBERS)
    found = []
    for one in candidates:
        try:
            found.append(adapter(kind).validate_python(one, strict=True))
        except ValidationError:
            continue
    return tuple(found)


def _set_by(key: str, cell: Cell, tier: Tier) -> str:
    """The file that sets what stands under the key: for one stage, or for all of them."""
    plain = key.rpartition(".")[2] if key.startswith("stages.") else key
    for sets in (tier.sets, cell.sets):
        for one in (key, plain):
            if one in sets:
                return file_of(sets[one])
    return "tables/protocol.toml"
