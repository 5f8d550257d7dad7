"""The ledger: every decision that the paper leaves open, with its choice, reason, alternatives.

`python -m replication.ledger` prints it as Markdown.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from replication.errors import SpecError
from replication.protocol import Evaluation, Network, Pretraining, Stage
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

HOME = Path(__file__).resolve().parents[1]
LEDGER = HOME / "ledger.toml"

FIELDS: dict[str, Any] = {
    name: kind
    for model in (Pretraining, Evaluation, Stage, Network)
    for name, kind in field_types(model).items()
}
Text = Annotated[str, Field(min_length=1)]
POINT_TYPES: dict[str, Any] = {
    "topic": Text,
    "field": str,
    "where": Text,
    "paper": Text,
    "why": Text,
    "alternatives": Annotated[tuple[Text, ...], Field(min_length=1)],
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
    elif name == "" and not (HOME / found.get("where", "?")).is_file():
        shown = show(found.get("where", ""))
        at.at("where").problem(f"{shown} must be the file that holds the choice")
    choice = checked(at.at("choice"), content["choice"], kind) if "choice" in content else INVALID
    if len(at.problems) > before:
        return None
    return Point(where=found.pop("where", "tables/protocol.toml"), choice=choice, **found)


def markdown(points: Sequence[Point]) -> str:
    """The ledger as a Markdown document."""
    lines = ["# What the paper leaves open, and what was chosen", ""]
    for point in points:
        stands = f"`{point.field}` in `{point.where}`" if point.field else f"`{point.where}`"
        choice = point.choice if not point.field else f"`{show(point.choice)}`"
        lines += [
            f"## {point.topic}",
            "",
            f"- Paper: {point.paper}",
            f"- Choice: {choice} ({stands})",
            f"- Why: {point.why}",
            f"- Seen elsewhere: {'; '.join(point.alternatives)}",
            "",
        ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m replication.ledger",
        description="Print every decision that the paper leaves open, as Markdown.",
    )
    parser.parse_args(arguments)
    try:
        print(markdown(load_ledger()))
    except SpecError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
