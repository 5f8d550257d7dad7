"""The paper's sentences against measured differences: supported, contradicted, or undecided.

A sentence is supported where every condition on its differences is shown by a one-sided t-test over
seeds, and contradicted where the opposite of one of them is. Both are hypotheses of the table's
family: Holm's correction keeps the chance of any false verdict in a table at 5 %.
`python -m benchmarks.false_alarms` simulates that.
"""

from collections.abc import Mapping, Sequence

from replication.differences import Difference, Tested, holm
from replication.evidence import Direction, Evidence, Runs, gather
from replication.reading import POWER, Reading
from replication.results import ClaimResult, ClaimVerdict, Pair
from replication.spec import Claim
from replication.statistics import Interval

# The chance of calling any claim of a table supported or contradicted where it is not.
ALPHA = 0.05


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
    reading = Reading(
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
