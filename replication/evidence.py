"""What the seeds say of a claim: its differences, and what each of them must be.

A sentence is a list of differences between cells, each of which must satisfy one or more
conditions (to be above zero; to stay within some points). `claims` judges them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from replication.differences import Difference, paired, unpaired
from replication.results import SeedRun
from replication.spec import Claim
from replication.statistics import mean

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
