"""What the paper leaves open about a table's cells, in words: the same for every medium."""

from collections.abc import Sequence
from dataclasses import dataclass

from replication.results import OpenPoint, TableResult

LEFT_OPEN = "Left open by the paper and chosen alike for every cell"
PAGE = "open-points.md"
COMMAND = "python -m replication.ledger"


@dataclass(frozen=True, kw_only=True)
class Said:
    """One point in three parts, so that a medium can set the value apart."""

    topic: str
    value: str
    # Whether the value is one of a field, or prose.
    code: bool
    # In brackets after it: who set it, where that is not the ledger.
    rest: str = ""

    @property
    def plain(self) -> str:
        return f"{self.topic}: {self.value} {self.rest}".rstrip()


def alike(result: TableResult) -> list[Said]:
    """The points that touch every cell, as all but noted ones have them."""
    noted = {point.topic for point in result.open_points if not point.every}
    return [
        _said(point, ["where not noted otherwise"] if point.topic in noted else [])
        for point in result.open_points
        if point.every
    ]


def some(result: TableResult) -> list[tuple[int, Said]]:
    """What only some cells have, with the number that marks them."""
    return [(number, _said(point)) for number, point in _numbered(result)]


def numbers(result: TableResult) -> dict[str, tuple[int, ...]]:
    """By cell: the numbers of what only some cells have."""
    found: dict[str, tuple[int, ...]] = {}
    for number, point in _numbered(result):
        for cell in point.cells:
            found[cell] = (*found.get(cell, ()), number)
    return found


def _numbered(result: TableResult) -> Sequence[tuple[int, OpenPoint]]:
    return list(enumerate((one for one in result.open_points if not one.every), start=1))


def _said(point: OpenPoint, notes: Sequence[str] = ()) -> Said:
    # As in the middle of a sentence: "stride placement", but "BN decay".
    topic = point.topic[0].lower() + point.topic[1:] if point.topic[1].islower() else point.topic
    if point.set_by:
        notes = [*notes, f"set by {point.set_by}", f"the ledger's choice is {point.chosen}"]
    rest = f"({'; '.join(notes)})" if notes else ""
    return Said(topic=topic, value=point.value, code=bool(point.field), rest=rest)


def count(result: TableResult) -> str:
    """How many points there are, for where there is no room for them."""
    every = {point.topic for point in result.open_points if point.every}
    others = {point.topic for point in result.open_points} - every
    return f"{len(every)} for every cell, {len(others)} for some"
