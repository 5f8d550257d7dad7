"""The sentences of the paper that a table must bear out, as pairs of cells."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from replication.spec.checks import Place, fields, nearest, show, tables

Kind = Literal["greater", "order", "best", "similar", "no_worse"]
Mode = Literal["all", "mean", "similar", "no worse"]
Pair = tuple[str, str]

Text = Annotated[str, Field(min_length=1)]
Points = Annotated[float, Field(gt=0, le=100)]
# How near a gain must come to the points that the paper's sentence gives it, where nothing else is
# declared. Two identical public trainings have come out 0.7 apart.
ABOUT = 1.0
KINDS: tuple[Kind, ...] = ("greater", "order", "best", "similar", "no_worse")
CLAIM_TYPES: dict[str, Any] = {
    "says": Text,
    "where": Text,
    "greater": Annotated[tuple[Pair, ...], Field(min_length=1)],
    "order": Annotated[tuple[str, ...], Field(min_length=2)],
    "best": Text,
    "similar": Annotated[tuple[Pair, ...], Field(min_length=1)],
    "no_worse": Annotated[tuple[Pair, ...], Field(min_length=1)],
    "on_average": bool,
    "among": Annotated[tuple[str, ...], Field(min_length=1)],
    "within": Points,
    "by": Points,
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence of the paper about a table's numbers.

    With mode "all" the first cell of every pair is above the second; with "mean" it is so on the
    average over the pairs; with "similar" no pair is more than `within` points apart, and with
    "no worse" no first cell is more than `within` points below its second.
    """

    says: str
    where: str
    kind: Kind
    mode: Mode
    pairs: tuple[Pair, ...]
    # The gain in points that the paper's sentence gives, met within `within`.
    by: float | None = None
    within: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells that the claim is about, each once."""
        return tuple(dict.fromkeys(cell for pair in self.pairs for cell in pair))


def read_claims(
    place: Place, value: Any, ours: Sequence[str], others: Collection[str]
) -> tuple[Claim, ...]:
    """`[[claims]]` about `ours`, the table's own cells; `others` are rows of other methods."""
    found = []
    for at, content in tables(place, value):
        before = len(at.problems)
        claim = fields(at, content, CLAIM_TYPES, required=("says", "where"))
        given: list[Kind] = [kind for kind in KINDS if kind in content]
        if len(given) != 1:
            shown = " and ".join(given) or "none"
            at.problem(f"{shown} given; must have exactly one of {', '.join(KINDS)}")
        elif len(at.problems) == before and _cells_known(at, claim, ours, others):
            one = _claim(at, given[0], claim, ours)
            if one is not None:
                found.append(one)
    return tuple(found)


def _cells_known(
    at: Place, claim: Mapping[str, Any], ours: Sequence[str], others: Collection[str]
) -> bool:
    before = len(at.problems)
    for key in (*KINDS, "among"):
        value = claim.get(key, ())
        named = [value] if isinstance(value, str) else value
        for cell in [c for one in named for c in ([one] if isinstance(one, str) else one)]:
            if cell in others:
                at.at(key).problem(f'"{cell}" is another method\'s row, which is never measured')
            elif cell not in ours:
                at.at(key).problem(f'no cell "{cell}"; {nearest(cell, ours)}')
    return len(at.problems) == before


def _claim(at: Place, kind: Kind, claim: Mapping[str, Any], ours: Sequence[str]) -> Claim | None:
    before = len(at.problems)
    owners = {"on_average": "greater", "among": "best", "by": "greater"}
    for key, owner in owners.items():
        if key in claim and kind != owner:
            at.at(key).problem(f"{show(claim[key])} belongs to {owner}, this claim is {kind}")
    tolerant = kind in ("similar", "no_worse")
    if "within" in claim and "by" not in claim and not tolerant:
        at.at("within").problem(
            f"{show(claim['within'])} belongs to similar and no_worse, this claim is {kind}"
        )
    if tolerant and "within" not in claim:
        at.at("within").problem(f"missing; {kind} needs the points that count as equal")
    pairs: tuple[Pair, ...]
    if kind == "order":
        pairs = tuple(pairwise(claim["order"]))
    elif kind == "best":
        best = claim["best"]
        pairs = tuple((best, cell) for cell in claim.get("among", ours) if cell != best)
    else:
        pairs = claim[kind]
    for first, second in pairs:
        if first == second:
            at.at(kind).problem(f'"{first}" is compared with itself')
    if not pairs:
        at.at(kind).problem(f"{show(claim[kind])} leaves no other cell to compare with")
    if len(at.problems) > before:
        return None
    mode: Mode = "all"
    if kind == "similar":
        mode = "similar"
    elif kind == "no_worse":
        mode = "no worse"
    elif claim.get("on_average"):
        mode = "mean"
    return Claim(
        says=claim["says"],
        where=claim["where"],
        kind=kind,
        mode=mode,
        pairs=pairs,
        by=claim.get("by"),
        within=claim.get("within", ABOUT if "by" in claim else None),
    )
