"""How many seeds each claim of the paper still needs, from what is on record.

The differences seen so far are taken for the true ones, and their deviation over seeds for the true
deviation. Then n seeds are enough where all differences that the claim rests on are shown together
with the power POWER, however they depend on each other, at the level that Holm's correction holds
the claim to when all others of the table fail: ALPHA over twice the table's claims. Records and
plans in, numbers out; no torch.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from replication.claims import ALPHA, judge_claims
from replication.cost import Bill, Cost, Prices, union
from replication.differences import Difference
from replication.evidence import Evidence, Runs, gather
from replication.reading import POWER
from replication.results import ClaimVerdict
from replication.spec import Claim, Table, TableKey
from replication.spec.names import cell_name
from replication.statistics import mean, pairs_needed

# Nobody trains more; the answer is then "more than".
MOST = 10_000

# "shown": by a test on the seeds on record. "needs": so many seeds would show it, or its opposite.
# "too many": more than MOST. "level": no difference is seen, so no number of seeds shows any.
# "no deviation": with fewer than two seeds. "not by seeds": something else is in the way.
State = Literal["shown", "needs", "too many", "level", "no deviation", "not by seeds"]


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What seeds can do for one claim; differences and deviations in points of mIoU."""

    table: TableKey
    says: str
    where: str
    state: State
    verdict: ClaimVerdict
    # Seeds of the cell that has fewest.
    n: int
    # The difference that needs most seeds, in words.
    decides: str
    difference: float | None = None
    # The paper's, where ours may be compared with it.
    published: float | None = None
    # Of that difference from seed to seed; where its cells are not paired, of a difference of two
    # single seeds. None with fewer than two seeds.
    deviation: float | None = None
    # The deviation is the user's, not one on record.
    assumed: bool = False
    # What the claim's tests are held to in the worst case.
    level: float
    # The smallest difference (from what the claim allows) that the seeds on record can show.
    smallest: float | None = None
    # In all, with those on record.
    seeds: int | None = None
    # The difference goes the other way: the seeds are those that would show the opposite.
    opposite: bool = False
    # Why seeds do not help, or what is missing.
    remark: str = ""
    # Of the seeds that are still to be run; None where their number is not known.
    cost: Cost | None = None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    prospects: tuple[Prospect, ...]
    # Of all claims whose number of seeds is known, a step that several need counted once.
    total: Cost
    # The tables some of whose claims have no deviation on record, the seeds that would give every
    # one of them one, and what that costs.
    unknown: tuple[TableKey, ...]
    first_seeds: int
    first_cost: Cost


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """A difference as further seeds would see it."""

    what: str
    mean: float
    # The error of the mean over n seeds is deviation / sqrt(n).
    deviation: float
    published: float | None


def _seeds_to_show(beyond: Sequence[tuple[Scatter, float]], level: float) -> int | None:
    """The fewest seeds that show with POWER that each difference lies beyond the bound that is so
    far away; None if MOST are too few.
    """
    differences = [(one.deviation, room) for one, room in beyond]
    return pairs_needed(differences, power=POWER, one_sided=1 - level, most=MOST)


def look_ahead(
    prices: Prices,
    runs: Mapping[TableKey, Runs],
    *,
    cells: Collection[str] = (),
    deviation: float | None = None,
) -> Outlook:
    """Every claim of the plan's tables, or only those about one of `cells` (`tableN/ID`).

    `runs` is what is on record. `deviation`, in points of mIoU, is what a cell is assumed to have
    where a claim has fewer than two seeds; its cells are then taken to scatter independently.
    """
    plan = prices.plan
    found: list[Prospect] = []
    bills: list[Bill] = []
    for table in plan.tables:
        scored = {run.cell for run in plan.runs if run.table == table.key and run.evaluation}
        every = _of_table(table, runs.get(table.key, {}), scored, plan.tier.comparable, deviation)
        for claim, prospect in zip(table.claims, every, strict=True):
            names = {cell_name(table.key, cell) for cell in claim.cells}
            if cells and names.isdisjoint(cells):
                continue
            if prospect.seeds is not None:
                bills.append(prices.bill(names, prospect.seeds))
                prospect = replace(prospect, cost=prices.cost(bills[-1]))
            found.append(prospect)
    unknown = [one for one in found if one.state == "no deviation"]
    tables = tuple(dict.fromkeys(one.table for one in unknown))
    # Two give a deviation; where two or more do not, one more may.
    seeds = max((max(2, one.n + 1) for one in unknown), default=0)
    theirs = {run.name for run in plan.runs if run.table in tables}
    return Outlook(
        prospects=tuple(found),
        total=prices.cost(union(bills)),
        unknown=tables,
        first_seeds=seeds,
        first_cost=prices.cost(prices.bill(theirs, seeds)),
    )


def _of_table(
    table: Table, runs: Runs, scored: Collection[str], comparable: bool, assumed: float | None
) -> list[Prospect]:
    """The claims of one table; `scored` are the cells that can be evaluated here."""
    published = {cell.id: cell.published for cell in table.cells}
    # Without a margin: it would settle single seeds, by declaration and not by a test.
    judged = judge_claims(table.claims, runs, published, math.inf, comparable=comparable)
    found = []
    for claim, result in zip(table.claims, judged, strict=True):
        evidence = gather(claim, runs, comparable=comparable)
        stated = _published(claim, published) if comparable else [None] * len(_names(claim))
        counts = [sum(run.value is not None for run in runs.get(cell, ())) for cell in claim.cells]
        prospect = Prospect(
            table=table.key,
            says=claim.says,
            where=claim.where,
            state="no deviation",
            verdict=result.verdict,
            n=min((one.n for one in evidence.differences), default=min(counts)),
            decides=_names(claim)[0],
            published=stated[0],
            level=ALPHA / (2 * len(table.claims)),
        )
        unscored = [
            cell
            for cell, count in zip(claim.cells, counts, strict=True)
            if count == 0 and cell not in scored
        ]
        if evidence.doubt:
            found.append(replace(prospect, state="not by seeds", remark=evidence.doubt))
        elif unscored:
            remark = f"no mIoU can be had here of {', '.join(unscored)}"
            found.append(replace(prospect, state="not by seeds", remark=remark))
        else:
            found.append(_of_claim(prospect, evidence, stated, assumed))
    return found


def _of_claim(
    prospect: Prospect, evidence: Evidence, stated: Sequence[float | None], assumed: float | None
) -> Prospect:
    names = _names(evidence.claim)
    tested = bool(evidence.differences) and not evidence.single
    if tested:
        scatters = [
            _seen(what, one, of_paper)
            for what, one, of_paper in zip(names, evidence.differences, stated, strict=True)
        ]
    else:
        to_show = _to_show(evidence, stated)
        if assumed is None or to_show is None:
            return _without_deviation(prospect, evidence, stated, assumed)
        deviation = assumed * _spread_of_difference(evidence.claim)
        scatters = [
            Scatter(what=what, mean=d, deviation=deviation, published=of_paper)
            for what, d, of_paper in zip(names, to_show, stated, strict=True)
        ]
    choice = _choose(scatters, evidence, prospect.level)
    deciding = scatters[choice.index]
    seen = evidence.differences[choice.index] if evidence.differences else None
    prospect = replace(
        prospect,
        decides=deciding.what,
        difference=seen.mean if seen else None,
        published=deciding.published,
        deviation=deciding.deviation,
        assumed=not tested,
        opposite=choice.opposite,
    )
    if tested and seen:
        smallest = seen.smallest_shown(prospect.level, power=POWER)
        prospect = replace(prospect, smallest=smallest)
    if tested and prospect.verdict in ("supported", "contradicted"):
        return replace(prospect, state="shown")
    if choice.level:
        return replace(prospect, state="level")
    if choice.seeds is None:
        return replace(prospect, state="too many")
    # Two samples of unequal size know a little less than their smaller one's count promises.
    enough = max(choice.seeds, prospect.n + 1) if tested else choice.seeds
    return replace(prospect, state="needs", seeds=enough)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The difference that decides how many seeds a claim needs."""

    index: int
    opposite: bool
    # No difference is seen from what the claim allows.
    level: bool = False
    seeds: int | None = None


def _choose(scatters: Sequence[Scatter], evidence: Evidence, level: float) -> _Choice:
    """A claim needs all its differences shown together; the one that needs most seeds is named.
    Where one goes the other way, showing that is enough: the one that needs fewest.
    """
    rooms = [min(c.room(one.mean) for c in evidence.conditions) for one in scatters]
    opposite = min(rooms) < 0
    level = evidence.level("contradicted" if opposite else "supported", level)
    if not opposite and min(rooms) == 0:
        return _Choice(index=rooms.index(0), opposite=False, level=True)
    seeds = {
        i: _seeds_to_show([(scatters[i], abs(room))], level)
        for i, room in enumerate(rooms)
        if not opposite or room < 0
    }

    def order(i: int) -> tuple[float, float]:
        needed = seeds[i]
        return (math.inf if needed is None else needed, -abs(rooms[i]))

    if opposite:
        index = min(seeds, key=order)
        return _Choice(index=index, opposite=True, seeds=seeds[index])
    every = [(one, c.room(one.mean)) for one in scatters for c in evidence.conditions]
    return _Choice(index=max(seeds, key=order), opposite=False, seeds=_seeds_to_show(every, level))


def _without_deviation(
    prospect: Prospect, evidence: Evidence, stated: Sequence[float | None], assumed: float | None
) -> Prospect:
    """With the difference that is seen under one seed, the weakest of several."""
    if assumed is not None:
        prospect = replace(prospect, remark="no difference to plan for: nothing is measured yet")
    if not evidence.differences:
        return prospect
    rooms = [min(c.room(one.mean) for c in evidence.conditions) for one in evidence.differences]
    index = rooms.index(min(rooms))
    return replace(
        prospect,
        decides=_names(evidence.claim)[index],
        difference=evidence.differences[index].mean,
        published=stated[index],
    )


def _seen(what: str, one: Difference, published: float | None) -> Scatter:
    assert one.error is not None
    deviation = one.error * math.sqrt(one.n)
    return Scatter(what=what, mean=one.mean, deviation=deviation, published=published)


def _to_show(evidence: Evidence, stated: Sequence[float | None]) -> list[float] | None:
    """The differences to plan for without a deviation: the paper's, or else those of one seed."""
    known = [one for one in stated if one is not None]
    if len(known) == len(stated):
        return known
    return [one.mean for one in evidence.differences] or None


def _spread_of_difference(claim: Claim) -> float:
    """The deviation of a difference, or of a mean over differences, where each cell has 1."""
    if claim.mode != "mean":
        return math.sqrt(2)
    weights: Counter[str] = Counter()
    for a, b in claim.pairs:
        weights[a] += 1
        weights[b] -= 1
    return math.sqrt(sum(weight**2 for weight in weights.values())) / len(claim.pairs)


def _names(claim: Claim) -> list[str]:
    """The differences that the claim's conditions are held against, in words."""
    if claim.mode == "mean":
        return [f"mean of {len(claim.pairs)} differences"]
    count = "" if len(claim.pairs) == 1 else f" (of {len(claim.pairs)})"
    return [f"{a} − {b}{count}" for a, b in claim.pairs]


def _published(claim: Claim, published: Mapping[str, float | None]) -> list[float | None]:
    """The paper's differences, as `_names` names ours."""
    found: list[float | None] = []
    for a, b in claim.pairs:
        of_a, of_b = published.get(a), published.get(b)
        found.append(None if of_a is None or of_b is None else round(of_a - of_b, 6))
    if claim.mode != "mean":
        return found
    known = [one for one in found if one is not None]
    return [mean(known) if len(known) == len(found) else None]
