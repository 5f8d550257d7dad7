"""The ledger: every decision that the paper leaves open, with its choice, reason, alternatives.

`python -m replication.ledger` prints it as a page of Markdown, with where it is overridden.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from replication.arguments import Parser, guarded
from replication.errors import SpecError
from replication.files import write_atomically
from replication.protocol import Evaluation, Network, Pretraining, Stage
from replication.spec import Cell, Table, load_tables
from replication.spec.checks import (
    INVALID,
    Place,
    checked,
    display,
    field_types,
    fields,
    nearest,
    read_toml,
    show,
    tables,
)
from replication.tiers import Tier, load_tier

HOME = Path(__file__).resolve().parents[1]
LEDGER = HOME / "ledger.toml"

FIELDS: dict[str, Any] = {
    name: kind
    for model in (Pretraining, Evaluation, Stage, Network)
    for name, kind in field_types(model).items()
}
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]
POINT_TYPES: dict[str, Any] = {
    "topic": Text,
    "field": str,
    "where": Text,
    "paper": Text,
    "why": Text,
    "alternatives": Texts,
    "cells": Texts,
    "role": Literal["voc", "coco", "cityscapes", "imagenet"],
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One open point."""

    topic: str
    # The field of the protocol that holds the choice; "" where `where` names a file instead.
    field: str
    where: str
    # What the paper says, quoted, or "silent".
    paper: str
    choice: Any
    why: str
    # Other choices, each with who made it.
    alternatives: tuple[str, ...]
    # Of a point without a field: patterns of the names of the cells that it touches; all, if none.
    cells: tuple[str, ...] = ()
    # The data that it is about: it touches nothing where a tier generates them.
    role: str = ""

    @property
    def shown_choice(self) -> str:
        return shown(self.choice)


def shown(value: Any) -> str:
    """A choice, or what is in force in its place, for people."""
    return value if isinstance(value, str) else show(value)


def load_ledger(path: Path = LEDGER) -> tuple[Point, ...]:
    """The ledger's points in order. Raises SpecError with every problem, one a line."""
    problems: list[str] = []
    place = Place(display(path), problems=problems)
    content = read_toml(path, place) or {}
    if not problems:
        fields(place, content, {}, required=("points",), apart=("points",))
    points: list[Point] = []
    seen: dict[str, str] = {}
    for at, one in tables(place.at("points"), content.get("points", [])):
        point = _point(at, one)
        if point is None:
            continue
        if point.field and point.field in seen:
            at.at("field").problem(f"{show(point.field)} is already that of {seen[point.field]}")
        seen[point.field] = at.path
        points.append(point)
    if problems:
        raise SpecError("\n".join(problems))
    return tuple(points)


def _point(at: Place, content: dict[str, Any]) -> Point | None:
    before = len(at.problems)
    required = ("topic", "field", "paper", "choice", "why", "alternatives")
    found = fields(at, content, POINT_TYPES, required=required, apart=("choice",))
    name = found.get("field")
    kind: Any = Text
    if name:
        if name not in FIELDS:
            at.at("field").problem(f"no field {show(name)}; {nearest(name, FIELDS)}")
            return None
        kind = FIELDS[name]
        if "cells" in found:
            at.at("cells").problem(
                f"{show(found['cells'])} cannot stand beside a field, which says it itself"
            )
    elif name == "" and "where" not in found:
        at.at("where").problem("missing; a point without a field names the file of its choice")
    choice = checked(at.at("choice"), content["choice"], kind) if "choice" in content else INVALID
    if len(at.problems) > before:
        return None
    return Point(where=found.pop("where", "tables/protocol.toml"), choice=choice, **found)


def matches(point: Point, cell: Cell) -> bool:
    """Whether a point without a field names the cell."""
    return not point.cells or any(fnmatchcase(cell.name, pattern) for pattern in point.cells)


def check(points: Sequence[Point], specs: Sequence[Table]) -> None:
    """Raises SpecError with each file that is not there and each pattern that names no cell.

    A run goes without: somebody's tables need not be all of these.
    """
    names = [cell.name for table in specs for cell in table.cells if cell.network is not None]
    problems = []
    for point in points:
        place = f"{display(LEDGER)}: {point.topic}"
        if not (HOME / point.where).is_file():
            problems.append(f"{place}: where: no file {show(point.where)}")
        problems += [
            f"{place}: cells: {show(pattern)} names no cell; {nearest(pattern, names)}"
            for pattern in point.cells
            if not any(fnmatchcase(name, pattern) for name in names)
        ]
    if problems:
        raise SpecError("\n".join(problems))


def for_tables(points: Sequence[Point], folder: Path) -> tuple[Point, ...]:
    """Those that hold for the specs of `folder`: another's cells are not the paper's."""
    own = folder.resolve() == (HOME / "tables").resolve()
    return tuple(point for point in points if own or not point.cells)


def file_of(place: str) -> str:
    """The file of a place such as `tables/ledger.toml: cells[4].dropout`, with its folder."""
    return "/".join(Path(place.partition(": ")[0]).parts[-2:])


def overrides(
    point: Point, specs: Sequence[Table], tiers: Sequence[Tier]
) -> dict[str, tuple[str, ...]]:
    """Where the point's field is set to another value: the values, with what has them, by file."""
    found: dict[str, dict[str, None]] = {}

    def note(place: str, part: str, value: Any, cell: str = "") -> None:
        if value is None or value == point.choice:
            return
        said = f"{cell}: {shown(value)}" if cell else shown(value)
        apart = part and part != "evaluation"
        found.setdefault(file_of(place), {})[f"{said} in {part}" if apart else said] = None

    for tier in sorted(tiers, key=lambda one: one.name):
        for key, place in tier.sets.items():
            part, _, name = key.rpartition(".")
            if name == point.field:
                note(place, part, _of_tier(tier, part).get(name))
    for table in specs:
        for cell in table.cells:
            for key, place in cell.sets.items():
                part, _, name = key.rpartition(".")
                if name == point.field and cell.network is not None:
                    own = "" if _of_table(place) else cell.id
                    note(place, part, _of_cell(cell, part, name), own)
    return {file: tuple(said) for file, said in found.items()}


def _of_tier(tier: Tier, part: str) -> Mapping[str, Any]:
    if part.startswith("stages."):
        return tier.stages[part.removeprefix("stages.")]
    if part == "pretraining":
        return tier.pretraining.model_dump() if tier.pretraining else {}
    return tier.evaluation if part else tier.training


def _of_table(place: str) -> bool:
    """Whether the place is the table's own and not a cell's."""
    return place.partition(": ")[2].startswith(("training.", "evaluation.", "stages."))


def _of_cell(cell: Cell, part: str, name: str) -> Any:
    if part.startswith("stages."):
        by_name = {one.name: one.stage for one in cell.stages}
        return getattr(by_name.get(part.removeprefix("stages.")), name, None)
    return cell.value(f"{part}.{name}" if part else name)


def page(points: Sequence[Point], specs: Sequence[Table], tiers: Sequence[Tier]) -> str:
    """The ledger as a page of Markdown."""
    lines = [
        "# What the paper leaves open, and what was chosen",
        "",
        "From `ledger.toml`, `tables/` and `tiers/`, by `python -m replication.ledger`. "
        "`tables/ledger.toml` measures what other readings would have changed.",
        "",
    ]
    for point in points:
        stands = f"`{point.field}` in `{point.where}`" if point.field else f"`{point.where}`"
        choice = f"`{point.shown_choice}`" if point.field else point.shown_choice
        lines += [
            f"## {point.topic}",
            "",
            f"- Paper: {point.paper}",
            f"- Choice: {choice} ({stands})",
            f"- Why: {point.why}",
            "- Seen elsewhere:",
            *(f"  - {one}" for one in point.alternatives),
        ]
        if point.field:
            found = overrides(point, specs, tiers)
            listed = [f"`{file}` ({'; '.join(said)})" for file, said in found.items()]
            lines.append(f"- Overridden: {', '.join(listed) or 'nowhere'}")
        if point.cells:
            lines.append(f"- Concerns: {', '.join(f'`{cell}`' for cell in point.cells)}")
        lines.append("")
    return "\n".join(lines)


def read_tiers(folder: Path) -> list[Tier]:
    """Every tier of the folder. Raises SpecError."""
    found = [load_tier(path.stem, folder) for path in sorted(folder.glob("*.toml"))]
    if not found:
        raise SpecError(f"{folder}: no tiers here (*.toml)")
    return found


def other_tiers(folder: Path, used: Tier) -> list[Tier]:
    """The folder's other tiers, but for those with mistakes: they are told where one is used."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        try:
            found += [load_tier(path.stem, folder)] if path.stem != used.name else []
        except SpecError:
            continue
    return found


def main(given: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m replication.ledger",
        description="Print every decision that the paper leaves open, as Markdown.",
    )
    parser.add_argument("--tables", type=Path, default=HOME / "tables", metavar="DIR")
    parser.add_argument("--tiers", type=Path, default=HOME / "tiers", metavar="DIR")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there instead")
    options = parser.parse_args(given)
    return guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    specs = load_tables(options.tables)
    points = for_tables(load_ledger(), options.tables)
    check(points, specs)
    text = page(points, specs, read_tiers(options.tiers))
    if options.output is None:
        print(text, end="")
    else:
        print(f"written: {write_atomically(options.output, text)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
