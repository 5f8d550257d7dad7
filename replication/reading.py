"""What a claim's verdict rests on, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from replication.differences import Difference
from replication.evidence import Condition, Direction, Evidence
from replication.results import Pair
from replication.statistics import Interval, mean

# The chance with which the smallest difference that seeds "could have shown" is shown.
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Reading:
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
