"""The paper's sentences against measured differences: supported, contradicted, or undecided.

A sentence is a list of differences between cells, each of which must satisfy one or more
conditions (to be above zero; to stay within some points). It is supported where every condition is
shown by a one-sided t-test over seeds, and contradicted where the opposite of one of them is. Both
are hypotheses of the table's family: Holm's correction keeps the chance of any false verdict in a
table at 5 %. `python -m benchmarks.false_alarms` simulates that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from replication.differences import Difference, Tested, holm, paired, unpaired
from replication.results import ClaimResult, ClaimVerdict, Pair, SeedRun
from replication.spec import Claim
from replication.statistics import Interval, mean

# The chance of calling any claim of a table supported or contradicted where it is not.
ALPHA = 0.05
# The chance with which the smallest difference that seeds "could have shown" is shown.
POWER = 0.8

Direction = Literal["supported", "contradicted"]
Runs = Mapping[str, Sequence[SeedRun]]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a true difference must be: above the bound, or below it."""

    side: Literal["above", "below"]
    bound: float

    def p_for(self, difference: Difference) -> float:
        """The p-value of the test that shows it."""
        if self.side == "above":
            return difference.p_above(self.bound)
        return difference.p_below(self.bound)

    def p_against(self, difference: Difference) -> float:
        """The p-value of the test that shows its opposite."""
        if self.side == "above":
            return difference.p_below(self.bound)
        return difference.p_above(self.bound)

    def room(self, value: float) -> float:
        """By how much a value meets it; negative where it does not."""
        return value - self.bound if self.side == "above" else self.bound - value


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the seeds say of one claim, before the table's other claims are thought of."""

    claim: Claim
    conditions: tuple[Condition, ...]
    # One for each pair of cells; None where nothing can be compared.
    of_pairs: tuple[Difference | None, ...]
    # What the conditions are held against: the pairs, or the one mean over them.
    differences: tuple[Difference, ...]
    # Why there is nothing to judge; empty where there is something.
    obstacle: str = ""
    # Why nothing is settled whatever the numbers say.
    doubt: str = ""

    @property
    def single(self) -> bool:
        """Whether one seed is all there is on some side, so that nothing can be tested."""
        return any(one.error is None for one in self.differences)

    @property
    def count(self) -> int:
        """The opposites of which any one contradicts the claim."""
        return len(self.differences) * len(self.conditions)

    def p(self, direction: Direction) -> float:
        """The claim's p-value: the worst of what must all be shown; for "contradicted" the best of
        what would do alone, times how many of those there are.
        """
        if self.obstacle or self.doubt or self.single:
            return 1.0
        every = [(c, d) for d in self.differences for c in self.conditions]
        if direction == "supported":
            return max(c.p_for(d) for c, d in every)
        return min(1.0, self.count * min(c.p_against(d) for c, d in every))

    def level(self, direction: Direction | None, level: float) -> float:
        """What one of its conditions is held against, where the whole claim is against `level`."""
        return level / self.count if direction == "contradicted" else level


def conditions(claim: Claim, *, comparable: bool) -> tuple[Condition, ...]:
    """What each difference of the claim must satisfy.

    The size of a gain ("improves by 1.39") is judged only where our numbers are comparable with
    the paper's; elsewhere its sign is.
    """
    if claim.mode == "similar":
        assert claim.within is not None
        return (
            Condition(side="above", bound=-claim.within),
            Condition(side="below", bound=claim.within),
        )
    if claim.mode == "no worse":
        assert claim.within is not None
        return (Condition(side="above", bound=-claim.within),)
    found = [Condition(side="above", bound=0.0)]
    if comparable and claim.by is not None:
        assert claim.within is not None
        found.append(Condition(side="below", bound=claim.by + claim.within))
        if claim.by > claim.within:
            found.append(Condition(side="above", bound=claim.by - claim.within))
    return tuple(found)


def gather(claim: Claim, runs: Runs, *, comparable: bool) -> Evidence:
    """The claim's differences over the seeds that there are.

    Cells whose seeds mean the same (one trained network, trainings from one backbone of each seed's
    own, or trainings that see the same pictures in the same order) are compared seed by seed,
    others as two samples.
    """
    values = {
        cell: {run.seed: run.value for run in runs.get(cell, ()) if run.value is not None}
        for cell in claim.cells
    }
    of_pairs = tuple(_difference(a, b, runs, values) for a, b in claim.pairs)
    differences = tuple(one for one in of_pairs if one is not None)
    obstacle = ""
    missing = [cell for cell, found in values.items() if not found]
    lone = [
        f"{a} and {b}" for (a, b), one in zip(claim.pairs, of_pairs, strict=True) if one is None
    ]
    if missing:
        obstacle = f"Not measured: {', '.join(missing)}."
    elif lone:
        obstacle = f"No seed in common: {'; '.join(lone)}."
    elif claim.mode == "mean":
        common = sorted(set.intersection(*(set(values[cell]) for cell in claim.cells)))
        if common:
            means = [mean([values[a][seed] - values[b][seed] for a, b in claim.pairs])
                     for seed in common]  # fmt: skip
            differences = (paired(means),)
        else:
            obstacle = "No seed in common to all its pairs."
    return Evidence(
        claim=claim,
        conditions=conditions(claim, comparable=comparable),
        of_pairs=of_pairs,
        differences=() if obstacle else differences,
        obstacle=obstacle,
        doubt=_doubt(claim, runs),
    )


def _difference(
    a: str, b: str, runs: Runs, values: Mapping[str, Mapping[int, float]]
) -> Difference | None:
    of_a, of_b = values[a], values[b]
    if not of_a or not of_b:
        return None
    common = sorted(of_a.keys() & of_b.keys())
    if _seeds_mean_the_same(a, b, runs) or min(len(of_a), len(of_b)) == 1:
        return paired([of_a[seed] - of_b[seed] for seed in common]) if common else None
    return unpaired(list(of_a.values()), list(of_b.values()))


def _seeds_mean_the_same(a: str, b: str, runs: Runs) -> bool:
    known = [[run for run in runs[cell] if run.value is not None] for cell in (a, b)]
    if len({run.draws for of_cell in known for run in of_cell}) == 1:
        return True
    of_a, of_b = ({run.seed: run.backbone for run in of_cell} for of_cell in known)
    common = of_a.keys() & of_b.keys()
    own = {of_a[seed] for seed in common} - {""}
    return len(own) == len(common) > 0 and all(of_a[seed] == of_b[seed] for seed in common)


def _doubt(claim: Claim, runs: Runs) -> str:
    every = [(cell, run) for cell in claim.cells for run in runs.get(cell, ())]
    # Seeds that survive where others diverge are a chosen few.
    failed = [f"{cell} (seed {run.seed})" for cell, run in every if run.problem]
    if failed:
        return f"failed: {', '.join(failed)}"
    found = [f"{cell} (seed {run.seed})" for cell, run in every if run.findings]
    return f"findings on: {', '.join(found)}" if found else ""


def judge_claims(
    claims: Sequence[Claim],
    runs: Runs,
    published: Mapping[str, float | None],
    margin: float,
    *,
    comparable: bool,
) -> tuple[ClaimResult, ...]:
    """Judge the sentences of one table together.

    Each is two hypotheses, supported and contradicted, and Holm's correction goes over all of
    them, whether measured yet or not. Where there is a single seed, which no test can use, a
    difference is known to -/+ `margin` by declaration, and the verdict says "single seed".
    """
    every = [gather(claim, runs, comparable=comparable) for claim in claims]
    directions: tuple[Direction, ...] = ("supported", "contradicted")
    tested = holm({(i, d): one.p(d) for i, one in enumerate(every) for d in directions}, ALPHA)
    return tuple(
        _result(one, {d: tested[i, d] for d in directions}, published, margin)
        for i, one in enumerate(every)
    )


def _result(
    evidence: Evidence,
    tested: Mapping[Direction, Tested],
    published: Mapping[str, float | None],
    margin: float,
) -> ClaimResult:
    claim = evidence.claim
    verdict = _verdict(evidence, tested, margin)
    direction: Direction | None = None
    if verdict == "supported" or verdict == "contradicted":
        direction = verdict
    whole = tested[direction or "supported"].level
    level = evidence.level(direction, whole)

    def known(one: Difference) -> Interval:
        if one.error is None:
            return Interval(low=one.mean - margin, high=one.mean + margin)
        return one.interval(level)

    pairs = tuple(
        _pair(a, b, one, known(one) if one else None, published)
        for (a, b), one in zip(claim.pairs, evidence.of_pairs, strict=True)
    )
    if evidence.obstacle:
        return ClaimResult(
            says=claim.says,
            where=claim.where,
            kind=claim.kind,
            verdict=verdict,
            pairs=pairs,
            basis=evidence.obstacle,
        )
    deciding = _deciding(evidence, direction)
    difference = evidence.differences[deciding]
    reading = _Reading(
        evidence=evidence,
        pairs=pairs,
        deciding=deciding,
        direction=direction,
        known=known(difference),
        level=whole,
        margin=margin,
    )
    testable = not (evidence.doubt or evidence.single)
    return ClaimResult(
        says=claim.says,
        where=claim.where,
        kind=claim.kind,
        verdict=verdict,
        pairs=pairs,
        basis=reading.sentence(),
        n=min(one.n for one in evidence.differences),
        p=evidence.p(direction or "supported") if testable else None,
        level=whole if testable else None,
        smallest=difference.smallest_shown(level, power=POWER) if testable else None,
    )


def _verdict(evidence: Evidence, tested: Mapping[Direction, Tested], margin: float) -> ClaimVerdict:
    if evidence.obstacle:
        return "not run"
    if evidence.doubt:
        return "undecided"
    if evidence.single:
        rooms = [c.room(d.mean) for d in evidence.differences for c in evidence.conditions]
        if min(rooms) > margin:
            return "supported"
        return "contradicted" if min(rooms) < -margin else "undecided"
    if tested["supported"].rejected:
        return "supported"
    return "contradicted" if tested["contradicted"].rejected else "undecided"


def _deciding(evidence: Evidence, direction: Direction | None) -> int:
    """The difference that a verdict rests on: what contradicts most clearly, or supports least.

    Where the declared margin decides, that is the one with the least room.
    """
    by_margin = evidence.single

    def against(one: Difference) -> tuple[float, float]:
        every = evidence.conditions
        return min((0.0 if by_margin else c.p_against(one), c.room(one.mean)) for c in every)

    def doubtful(one: Difference) -> tuple[float, float]:
        every = evidence.conditions
        return max((0.0 if by_margin else c.p_for(one), -c.room(one.mean)) for c in every)

    indices = range(len(evidence.differences))
    if direction == "contradicted":
        return min(indices, key=lambda i: against(evidence.differences[i]))
    return max(indices, key=lambda i: doubtful(evidence.differences[i]))


def _pair(
    a: str,
    b: str,
    difference: Difference | None,
    known: Interval | None,
    published: Mapping[str, float | None],
) -> Pair:
    of_a, of_b = published.get(a), published.get(b)
    return Pair(
        a=a,
        b=b,
        published=None if of_a is None or of_b is None else round(of_a - of_b, 6),
        measured=difference.mean if difference else None,
        low=known.low if known else None,
        high=known.high if known else None,
        n=difference.n if difference else 0,
    )


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What a verdict rests on, ready to be put into words."""

    evidence: Evidence
    pairs: tuple[Pair, ...]
    deciding: int
    direction: Direction | None
    known: Interval
    level: float
    margin: float

    def sentence(self) -> str:
        claim = self.evidence.claim
        difference = self.evidence.differences[self.deciding]
        seeds = "single seed" if difference.n == 1 else f"{difference.n} seeds"
        how = "" if difference.error is None or difference.paired else ", not paired"
        text = (
            f"{self._what()} {difference.mean:+.2f} "
            f"[{self.known.low:+.2f}, {self.known.high:+.2f}], {seeds}{how}"
        )
        if (stated := self._stated()) is not None:
            text += f"; the paper's {stated:+.2f}"
        if claim.mode == "similar":
            text += f"; to stay within ±{claim.within:g}"
        elif claim.mode == "no worse" or len(self.evidence.conditions) > 1:
            text += f"; to be {_bounds(self.evidence.conditions)}"
        if self.evidence.doubt:
            return f"{text}; but {self.evidence.doubt}."
        return f"{text}. {self._test(difference)}"

    def _what(self) -> str:
        claim, count = self.evidence.claim, len(self.pairs)
        if claim.mode == "mean":
            return f"Mean of {count} differences"
        pair = self.pairs[self.deciding]
        what = f"{pair.a} − {pair.b} ="
        if count == 1:
            return what
        which = "the clearest" if self.direction == "contradicted" else "the weakest"
        above = sum((pair.measured or 0) > 0 for pair in self.pairs)
        tally = "" if claim.mode in ("similar", "no worse") else f" {above} above zero;"
        return f"Of {count} differences{tally} {which}: {what}"

    def _stated(self) -> float | None:
        if self.evidence.claim.mode != "mean":
            return self.pairs[self.deciding].published
        stated = [pair.published for pair in self.pairs if pair.published is not None]
        return mean(stated) if len(stated) == len(self.pairs) else None

    def _test(self, difference: Difference) -> str:
        if self.evidence.single:
            every = all(one.n == 1 for one in self.evidence.differences)
            who = "One seed is" if every else "Some cells have one seed: all are"
            return f"{who} held to the declared margin of {self.margin:g}."
        p = self.evidence.p(self.direction or "supported")
        compared = "against" if self.direction is None else "under"
        level = self.evidence.level(self.direction, self.level)
        smallest = difference.smallest_shown(level, power=POWER)
        return (
            f"{p_value(p)} {compared} {self.level:.2g}; these seeds could have shown "
            f"{smallest:.2f}."
        )


def _bounds(every: Sequence[Condition]) -> str:
    """What a difference must be, the tightest bound of a side: "above 0, below 1.12"."""
    above = max(one.bound for one in every if one.side == "above")
    below = [one.bound for one in every if one.side == "below"]
    return f"above {above:g}" + (f", below {min(below):g}" if below else "")


def p_value(p: float) -> str:
    """A p-value as it is quoted."""
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"
