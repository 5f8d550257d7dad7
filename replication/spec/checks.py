"""Reading TOML strictly: every problem is one line that names file, key, value and what is allowed.

Used by specs, tiers and the ledger. A `Place` is where a value stands; problems are collected, so
that a file's mistakes are all told at once.
"""

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

LONGEST_SHOWN = 72


@dataclass(frozen=True)
class Place:
    """A key of a file, e.g. `cells[2].multi_grid`; `problems` is shared by all places of a load."""

    file: str
    path: str = ""
    problems: list[str] = field(default_factory=list, repr=False, compare=False)

    def at(self, key: str) -> "Place":
        return Place(self.file, f"{self.path}.{key}" if self.path else key, self.problems)

    def item(self, index: int | str) -> "Place":
        return Place(self.file, f"{self.path}[{index}]", self.problems)

    def problem(self, text: str) -> None:
        self.problems.append(f"{self}: {text}")

    def __str__(self) -> str:
        return f"{self.file}: {self.path}" if self.path else self.file


def display(path: Path) -> str:
    """The path as the user would type it from the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def read_toml(path: Path, place: Place) -> dict[str, Any] | None:
    """The file's content, or None with a problem: unreadable, or a syntax error and its line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        place.problem(f"not valid TOML: {error}")
    except (OSError, UnicodeDecodeError) as error:
        place.problem(f"cannot be read: {getattr(error, 'strerror', None) or error}")
    return None


def show(value: Any) -> str:
    """A value as TOML writes it, shortened."""
    text = _toml(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """What to tell beside an unknown name: the nearest known one, or all of them."""
    names = list(known)
    lowered = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f'the nearest known is "{lowered[close[0]]}"'
    return f"known: {', '.join(names) or 'none'}"


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The checker of a type annotation."""
    return TypeAdapter(kind)


@cache
def field_types(model: type[BaseModel]) -> dict[str, Any]:
    """The full annotation of each field of a model."""
    return {
        name: Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        for name, info in model.model_fields.items()
    }


def frozen(value: Any) -> Any:
    """TOML's lists as tuples, all the way down."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def _finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return not isinstance(value, float) or math.isfinite(value)


class Invalid:
    """What `checked` returns for a value that does not hold; the problem has been told."""


INVALID = Invalid()


def checked(place: Place, value: Any, kind: Any) -> Any:
    """The value as the type `kind`, with no conversions; or INVALID, and a problem at `place`."""
    if not _finite(value):
        place.problem(f"{show(value)} must be finite")
        return INVALID
    checker = adapter(kind)
    try:
        return checker.validate_python(frozen(value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
    if first["type"] == "value_error":
        allowed = str(first["ctx"]["error"])
    else:
        schema = checker.json_schema()
        allowed = f"must be {_phrase(schema)}"
        if isinstance(value, str) and isinstance(schema.get("enum"), list):
            close = difflib.get_close_matches(value, list(map(str, schema["enum"])), n=1)
            allowed += f'; the nearest is "{close[0]}"' if close else ""
    place.problem(f"{show(value)} {allowed}")
    return INVALID


def _phrase(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "const" in schema:
        return _toml(schema["const"])
    if "enum" in schema:
        *others, last = map(_toml, schema["enum"])
        return f"{', '.join(others)} or {last}"
    match schema.get("type"):
        case "boolean":
            return "true or false"
        case "string":
            return "a text" if "minLength" in schema else "a string"
        case "integer":
            return "a whole number" + _range(schema)
        case "number":
            return "a number" + _range(schema)
        case "array" if "prefixItems" in schema:
            parts = [_phrase(one) for one in schema["prefixItems"]]
            each = f"each {parts[0]}" if len(set(parts)) == 1 else ", ".join(parts)
            return f"a list of {len(parts)}: {each}"
        case "array":
            least = schema.get("minItems")
            several = "a list" if not least else f"a list of at least {least}"
            return f"{several}, each {_phrase(schema.get('items', {}))}"
        case "object":
            values = schema.get("additionalProperties")
            each = f", each value {_phrase(values)}" if isinstance(values, dict) else ""
            return "a table of keys and values" + each
    return "another kind of value"


def _range(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")

    def text(bound: float) -> str:
        return f"{bound:g}"

    if least is not None and most is not None:
        return f" from {text(least)} to {text(most)}"
    if least is not None and below is not None:
        return f" from {text(least)} to below {text(below)}"
    parts = []
    if least is not None:
        parts.append(f"of at least {text(least)}")
    if above is not None:
        parts.append(f"above {text(above)}")
    if most is not None:
        parts.append(f"of at most {text(most)}")
    if below is not None:
        parts.append(f"below {text(below)}")
    return " " + " and ".join(parts) if parts else ""


def section(place: Place, value: Any) -> dict[str, Any]:
    """A TOML table; anything else is a problem, and read as an empty one."""
    if isinstance(value, dict):
        return value
    place.problem(f"{show(value)} must be a table of keys and values")
    return {}


def tables(place: Place, value: Any) -> list[tuple[Place, dict[str, Any]]]:
    """An array of TOML tables, each with its place."""
    if not isinstance(value, list):
        place.problem(f"{show(value)} must be a list of tables")
        return []
    return [(place.item(i), section(place.item(i), one)) for i, one in enumerate(value)]


def fields(
    place: Place,
    value: Any,
    kinds: Mapping[str, Any],
    *,
    required: Iterable[str] = (),
    apart: Iterable[str] = (),
) -> dict[str, Any]:
    """The valid keys of a section, each checked as `kinds` says.

    An unknown key is told with the nearest known one, as is a missing `required` one; the keys
    named in `apart` are left to the caller.
    """
    content = section(place, value)
    apart = tuple(apart)
    found = {}
    for key, one in content.items():
        if key in apart:
            continue
        if key not in kinds:
            place.at(key).problem(f"unknown key; {nearest(key, (*kinds, *apart))}")
            continue
        valid = checked(place.at(key), one, kinds[key])
        if valid is not INVALID:
            found[key] = valid
    for key in required:
        if key not in content:
            place.at(key).problem("missing; this key is required")
    return found
