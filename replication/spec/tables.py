"""The specs of the paper's tables: reads `tables/`, checks it, and resolves every cell's protocol.

A table's file says what the table changes in protocol.toml, lists its cells with the published
numbers (or two axes and a matrix of numbers), and quotes the paper's claims about them. A mistake
is told with file, key, value and what is allowed, all mistakes at once. Nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replication.errors import SpecError
from replication.protocol import Evaluation, Network, Stage
from replication.spec.cells import Draft, Grid, read_grid, read_list, text
from replication.spec.checks import (
    INVALID,
    Place,
    checked,
    display,
    fields,
    frozen,
    nearest,
    read_toml,
    show,
    tables,
)
from replication.spec.claims import Claim, Text, read_claims
from replication.spec.names import NAME_KEYS, TableKey, cell_name, listed, numbered, order, read_key
from replication.spec.protocol import (
    EVALUATION_TYPES,
    MAIN_STAGE,
    TRAINING_TYPES,
    Changes,
    NamedStage,
    Protocol,
    load_protocol,
    read_chain,
    read_stages,
    resolve,
)

PROTOCOL_FILE = "protocol.toml"
TABLE_TYPES: dict[str, Any] = {
    "title": Text,
    "source": Text,
    "notes": tuple[Text, ...],
    "bold": str,
}
TABLE_PARTS = (
    *NAME_KEYS,
    *("training", "evaluation", "stages", "chain", "columns", "grid", "cells", "claims"),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table, and all that is needed to measure it again.

    Rows of others' methods, and rows that cannot be replicated anywhere, have no network and no
    evaluation, and no stages.
    """

    id: str
    table: TableKey
    # What the row is called where the table names its rows; "" elsewhere.
    label: str = ""
    # The fields that tell this cell from its neighbours, for drawing.
    axes: Mapping[str, Any] = field(default_factory=dict)
    # Another's method: published only.
    method: str | None = None
    published: float | None = None
    # Further published numbers, by name: `relative_time` in Table 11.
    also: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None
    # Why the row cannot be measured; with `needs`, only at tiers whose data lack that.
    unavailable: str | None = None
    needs: str | None = None
    network: Network | None = None
    stages: tuple[NamedStage, ...] = ()
    evaluation: Evaluation | None = None
    # The cell of the same table that this one is a variant of.
    against: str | None = None
    # Every field that the table or the cell sets, and where: a tier may scale it, not set it.
    sets: Mapping[str, str] = field(default_factory=dict)
    place: str = ""

    @property
    def name(self) -> str:
        return cell_name(self.table, self.id)

    @property
    def main(self) -> Stage | None:
        """The stage that the table is about: `train`, or the last one."""
        if not self.stages:
            return None
        by_name = {one.name: one.stage for one in self.stages}
        return by_name.get(MAIN_STAGE, self.stages[-1].stage)

    def value(self, key: str) -> Any:
        """The value of a column's key; None where the row has none."""
        if key == "chain":
            return tuple(one.name for one in self.stages)
        if key == "label":
            return self.label
        if key.startswith("also."):
            return self.also.get(key.removeprefix("also."))
        if key.startswith("evaluation."):
            return getattr(self.evaluation, key.removeprefix("evaluation."), None)
        return getattr(self.network, key, getattr(self.main, key, None))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a drawn table: the value, or a tick where it is (or is not) a given one."""

    title: str
    key: str
    tick: Any = None
    tick_unless: Any = None

    def text(self, cell: Cell) -> str:
        """What stands in the column for this cell."""
        value = cell.value(self.key)
        if value is None:
            return ""
        if self.tick is not None:
            ticked = self.tick in value if self.key == "chain" else value == self.tick
            return "✓" if ticked else ""
        if self.tick_unless is not None:
            return "✓" if value != self.tick_unless else ""
        return text(self.key, value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the paper, or a spec of one's own beside them."""

    # The paper's number; None for a spec of one's own.
    number: int | None
    title: str
    source: str
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]
    claims: tuple[Claim, ...]
    # Set where the table is drawn as axes and a matrix; else `columns` says how.
    grid: Grid | None
    columns: tuple[Column, ...]
    # The cell that the paper sets in bold.
    bold: str | None
    # Of a spec of one's own: that of its file.
    name: str = ""

    @property
    def key(self) -> TableKey:
        """What it goes by: its number, or else its name."""
        return self.name if self.number is None else self.number

    def cell(self, cell_id: str) -> Cell:
        """The cell of that id. Raises KeyError."""
        for cell in self.cells:
            if cell.id == cell_id:
                return cell
        raise KeyError(cell_id)


def load_tables(folder: Path, keys: Sequence[TableKey] | None = None) -> list[Table]:
    """The tables of `folder` by number, then by name; or only those in `keys`, in that order.

    Raises SpecError with every problem of every file, one a line.
    """
    problems: list[str] = []
    where = Place(display(folder), problems=problems)
    files = sorted(folder.glob("*.toml")) if folder.is_dir() else []
    if not files:
        raise SpecError(f"{where}: no such folder of tables (it must hold table*.toml)")
    protocol = load_protocol(folder / PROTOCOL_FILE, problems)
    found: dict[TableKey, tuple[str, Table]] = {}
    for path in files:
        place = Place(display(path), problems=problems)
        if path.name == PROTOCOL_FILE:
            continue
        if (content := read_toml(path, place)) is not None and protocol is not None:
            table = _table(place, path.stem, content, protocol)
            if table is not None and table.key in found:
                other = found[table.key][0]
                place.at("number").problem(f"{table.key} is already the number of {other}")
            elif table is not None:
                found[table.key] = (place.file, table)
    known = sorted(found, key=order)
    for key in keys or ():
        if key not in found and not problems:
            where.problem(f"no table {key}; known: {listed(known)}")
    if problems:
        raise SpecError("\n".join(problems))
    return [found[key][1] for key in (known if keys is None else keys)]


def _table(place: Place, file: str, content: Mapping[str, Any], protocol: Protocol) -> Table | None:
    before = len(place.problems)
    key = read_key(place, file, content)
    head = fields(place, content, TABLE_TYPES, required=("title", "source"), apart=TABLE_PARTS)
    stages = read_stages(place.at("stages"), content.get("stages", {}))
    changes = Changes(
        training=fields(place.at("training"), content.get("training", {}), TRAINING_TYPES),
        evaluation=fields(place.at("evaluation"), content.get("evaluation", {}), EVALUATION_TYPES),
        stages=stages,
        chain=read_chain(place.at("chain"), content["chain"], stages)
        if "chain" in content
        else None,
    )
    grid, drafts, claims = None, list[Draft](), tuple[Claim, ...]()
    # A spec of one's own may have no published numbers beside its own.
    published = numbered(file) and "name" not in content
    if ("grid" in content) == ("cells" in content):
        place.problem("must have either [grid] or [[cells]]")
    elif "grid" in content:
        grid, drafts = read_grid(place.at("grid"), content["grid"], published=published)
    else:
        drafts = read_list(place.at("cells"), content["cells"], stages, published=published)
    ids = [draft.head.get("id") for draft in drafts]
    if drafts and None not in ids:
        claims = _check_names(place, content, head, drafts)
    columns = _columns(place.at("columns"), content.get("columns", []), stages, drafts)
    # What the parts say together is checked once each part holds.
    if len(place.problems) > before or key is None:
        return None
    cells = _resolved(place, drafts, key, protocol, changes)
    if len(place.problems) > before:
        return None
    return Table(
        number=None if isinstance(key, str) else key,
        name=key if isinstance(key, str) else "",
        title=head["title"],
        source=head["source"],
        notes=head.get("notes", ()),
        cells=tuple(cells),
        claims=claims,
        grid=grid,
        columns=columns,
        bold=head.get("bold"),
    )


def _check_names(
    place: Place, content: Mapping[str, Any], head: Mapping[str, Any], drafts: Sequence[Draft]
) -> tuple[Claim, ...]:
    """Check what goes by a cell's name: the ids themselves, `bold` and the claims."""
    seen: dict[str, Place] = {}
    for draft in drafts:
        cell = draft.head["id"]
        if cell in seen:
            draft.place.at("id").problem(f'"{cell}" is already the id of {seen[cell].path}')
        seen.setdefault(cell, draft.place)
    if "bold" in head and head["bold"] not in seen:
        place.at("bold").problem(f'no cell "{head["bold"]}"; {nearest(head["bold"], seen)}')
    others = {draft.head["id"] for draft in drafts if "method" in draft.head}
    ours = [cell for cell in seen if cell not in others]
    for draft in drafts:
        if "against" in draft.head:
            _check_against(draft, ours)
    return read_claims(place.at("claims"), content.get("claims", []), ours, others)


def _check_against(draft: Draft, ours: Sequence[str]) -> None:
    base, at = draft.head["against"], draft.place.at("against")
    if base == draft.head["id"]:
        at.problem(f'"{base}" is compared with itself')
    elif base not in ours:
        at.problem(f'no cell "{base}" of ours; {nearest(base, ours)}')


def _columns(
    place: Place, value: Any, stages: Mapping[str, Any], drafts: Sequence[Draft]
) -> tuple[Column, ...]:
    also = {name: float for draft in drafts for name in draft.head.get("also", {})}
    kinds: dict[str, Any] = {
        "label": str,
        "chain": str,
        **TRAINING_TYPES,
        **{f"evaluation.{name}": kind for name, kind in EVALUATION_TYPES.items()},
        **{f"also.{name}": kind for name, kind in also.items()},
    }
    columns = []
    for at, content in tables(place, value):
        marks = ("tick", "tick_unless")
        types: dict[str, Any] = {"title": Text, "key": str}
        column = fields(at, content, types, required=types, apart=marks)
        key = column.get("key")
        if key is not None and key not in kinds:
            at.at("key").problem(f'no such column "{key}"; {nearest(key, kinds)}')
            continue
        given = [mark for mark in marks if mark in content]
        if len(given) == 2:
            at.problem("tick and tick_unless given; must have at most one")
        if key is None or "title" not in column:
            continue
        valid = [checked(at.at(mark), content[mark], kinds[key]) for mark in given]
        known = (MAIN_STAGE, *stages)
        if key == "chain" and valid and valid[0] is not INVALID and valid[0] not in known:
            at.at(given[0]).problem(f"no stage {show(valid[0])}; {nearest(valid[0], known)}")
        marked = {mark: frozen(one) for mark, one in zip(given, valid, strict=True)}
        columns.append(Column(title=column["title"], key=key, **marked))
    return tuple(columns)


def _resolved(
    place: Place, drafts: Sequence[Draft], key: TableKey, protocol: Protocol, changes: Changes
) -> list[Cell]:
    """The cells with their protocols; a contradiction that many of them share is told once."""
    cells, told = [], dict[str, list[Place]]()
    for draft in drafts:
        before = len(place.problems)
        cells.append(_cell(place, draft, key, protocol, changes))
        for line in place.problems[before:]:
            told.setdefault(line.removeprefix(f"{draft.place}: "), []).append(draft.place)
        del place.problems[before:]
    for problem, places in told.items():
        others = len(places) - 1
        places[0].problem(problem + (f" (and in {others} more cells)" if others else ""))
    return cells


def _cell(
    table_place: Place, draft: Draft, key: TableKey, protocol: Protocol, table: Changes
) -> Cell:
    head, own = draft.head, draft.changes
    inside = draft.place
    sets = table.places(table_place, "training")
    if draft.axes:
        sets |= {name: f"{table_place}: {where}" for name, where in draft.axes.items()}
    else:
        sets |= own.places(inside, "")
    changed = {**own.training, **{f"evaluation.{n}": one for n, one in own.evaluation.items()}}
    # What can be measured nowhere has no protocol; with `needs`, some tiers can.
    measurable = "method" not in head and ("unavailable" not in head or "needs" in head)
    resolved = resolve(protocol, table, own, inside) if measurable else None
    network, stages, evaluation = resolved or (None, (), None)
    return Cell(
        id=head["id"],
        table=key,
        label=head.get("label", head.get("method", "")),
        axes=changed,
        method=head.get("method"),
        published=head.get("published"),
        also=head.get("also", {}),
        note=head.get("note"),
        unavailable=head.get("unavailable"),
        needs=head.get("needs"),
        against=head.get("against"),
        network=network,
        stages=stages,
        evaluation=evaluation,
        sets=sets,
        place=str(inside),
    )
