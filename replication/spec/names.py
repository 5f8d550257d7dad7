"""How tables are called: the paper's by their numbers, a spec of one's own by its name."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field

from replication.spec.checks import INVALID, Place, checked, show

# 3 is Table 3 of the paper; "ledger" is the spec tables/ledger.toml.
TableKey = int | str

NAME_KEYS = ("number", "name")
NUMBER = Annotated[int, Field(ge=1)]
# In a results folder another file has this name.
RESERVED = "index"


def parse(text: str) -> TableKey:
    """A table as the command line names it: `3`, `ledger`."""
    return int(text) if text.isascii() and text.isdigit() else text


def short(table: TableKey) -> str:
    """What stands before the slash in a cell's name: `table3`, `ledger`."""
    return f"table{table}" if isinstance(table, int) else table


def cell_name(table: TableKey, cell: str) -> str:
    """A cell's name: `table3/mg121-block7`, `ledger/dropout-0.5`."""
    return f"{short(table)}/{cell}"


def stem(table: TableKey) -> str:
    """The name of its files, so that they sort: `table03`, `ledger`."""
    return f"table{table:02d}" if isinstance(table, int) else table


def heading(table: TableKey) -> str:
    """For people: `Table 3`, `Ledger`."""
    return f"Table {table}" if isinstance(table, int) else table.capitalize()


def order(table: TableKey) -> tuple[bool, TableKey]:
    """To sort by: the paper's tables by number, then the others by name."""
    return isinstance(table, str), table


def listed(tables: Iterable[TableKey]) -> str:
    """What there is, for a message: `1, 2, 3, ledger`."""
    return ", ".join(map(str, tables))


def numbered(file: str) -> bool:
    """Whether a file of this stem holds a table of the paper."""
    return file.startswith("table")


def read_key(place: Place, file: str, content: Mapping[str, Any]) -> TableKey | None:
    """The number or the name that a spec states; None, and a problem, where it is not in order.

    `file` is the file's stem. It tells at sight which of the two a file holds, and results go by
    it: a name is the file's own.
    """
    if "number" in content and "name" in content:
        place.problem("number and name given; a table of the paper has a number, others a name")
    elif "name" in content:
        at, name = place.at("name"), checked(place.at("name"), content["name"], str)
        if name is INVALID:
            return None
        if name != file:
            at.problem(f'{show(name)} must be that of its file, "{file}"')
        elif not re.fullmatch(r"[a-z][a-z0-9]*", name) or numbered(file) or name == RESERVED:
            at.problem(
                f'{show(name)} must be a word in lower case, not "{RESERVED}", and not begin '
                'with "table"'
            )
        else:
            return str(name)
    elif "number" in content:
        at, number = place.at("number"), checked(place.at("number"), content["number"], NUMBER)
        if number is not INVALID and numbered(file):
            return int(number)
        if number is not INVALID:
            at.problem(f"{show(number)} must stand in a file named table*.toml; others have a name")
    elif numbered(file):
        place.at("number").problem("missing; this key is required")
    else:
        place.at("name").problem(
            f'missing; a spec of one\'s own states name = "{file}", a table of the paper is in a '
            "file named table*.toml"
        )
    return None
