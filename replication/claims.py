"""The paper's sentences against measured differences: which hold, which fail, which stay open."""

from collections.abc import Mapping, Sequence

from replication.results import ClaimResult, ClaimVerdict, Pair, SeedRun
from replication.spec import Claim
from replication.statistics import Interval, mean, mean_interval


def judge_claim(
    claim: Claim,
    runs: Mapping[str, Sequence[SeedRun]],
    published: Mapping[str, float | None],
    margin: float,
) -> ClaimResult:
    """Judge one of the paper's sentences on the differences between its pairs of cells.

    Differences are paired by seed, which shares the data's order and the initialisation. With two
    seeds or more, a difference is known to mean -/+ t(0.95, n - 1) s / sqrt(n), each end with 95 %
    confidence; with one, to -/+ `margin`.
    """
    by_seed = {
        cell: {run.seed: run.value for run in runs.get(cell, ()) if run.value is not None}
        for pair in claim.pairs
        for cell in pair
    }
    differences = [_paired(by_seed[a], by_seed[b]) for a, b in claim.pairs]
    pairs = tuple(
        _pair(a, b, found, published, margin)
        for (a, b), found in zip(claim.pairs, differences, strict=True)
    )

    def result(verdict: ClaimVerdict, basis: str) -> ClaimResult:
        return ClaimResult(
            says=claim.says,
            where=claim.where,
            kind=claim.kind,
            verdict=verdict,
            pairs=pairs,
            basis=basis,
        )

    missing = [cell for cell, values in by_seed.items() if not values]
    if missing:
        return result("not run", f"Not measured: {', '.join(missing)}.")
    lone = [
        f"{a} and {b}" for (a, b), found in zip(claim.pairs, differences, strict=True) if not found
    ]
    if lone:
        return result("not run", f"No seed in common: {'; '.join(lone)}.")
    if claim.mode == "mean":
        common = set.intersection(*(set(found) for found in differences))
        if not common:
            return result("not run", "No seed in common to all its pairs.")
        means = [mean([found[seed] for found in differences]) for seed in sorted(common)]
        verdict, basis = _judge_mean(means, pairs, margin)
    else:
        within = claim.within if claim.mode == "similar" else None
        verdict, basis = _judge_each(pairs, within)
    failed = [f"{cell} (seed {run.seed})" for cell in by_seed for run in runs[cell] if run.problem]
    if failed:
        # Seeds that survive where others diverge are a chosen few.
        return result("undecided", f"{basis[:-1]}; but failed: {', '.join(failed)}.")
    suspect = [
        f"{cell} (seed {run.seed})" for cell in by_seed for run in runs[cell] if run.findings
    ]
    if suspect:
        return result("undecided", f"{basis[:-1]}; but findings on: {', '.join(suspect)}.")
    return result(verdict, basis)


def _paired(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    return {seed: a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())}


def _interval(differences: Sequence[float], margin: float) -> Interval:
    if len(differences) == 1:
        return Interval(low=differences[0] - margin, high=differences[0] + margin)
    return mean_interval(differences)


def _pair(
    a: str,
    b: str,
    found: Mapping[int, float],
    published: Mapping[str, float | None],
    margin: float,
) -> Pair:
    values = list(found.values())
    interval = _interval(values, margin) if values else None
    of_a, of_b = published.get(a), published.get(b)
    return Pair(
        a=a,
        b=b,
        published=None if of_a is None or of_b is None else round(of_a - of_b, 6),
        measured=mean(values) if values else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=len(values),
    )


def judge_difference(low: float, high: float, within: float | None = None) -> ClaimVerdict:
    """Whether a difference is positive; with `within`, whether it is that near to nothing."""
    if within is None:
        return "holds" if low > 0 else "fails" if high < 0 else "undecided"
    if -within <= low and high <= within:
        return "holds"
    return "fails" if low > within or high < -within else "undecided"


def _judge_each(pairs: Sequence[Pair], within: float | None) -> tuple[ClaimVerdict, str]:
    """Every pair must hold; one that fails is enough to fail."""
    judged = [
        (pair, judge_difference(_known(pair.low), _known(pair.high), within)) for pair in pairs
    ]
    verdicts = [verdict for _, verdict in judged]
    overall: ClaimVerdict = (
        "fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds"
    )
    decisive = [pair for pair, verdict in judged if verdict == overall]
    # The pair that decides: furthest into failing, or nearest to not holding.
    if within is None:
        weakest = min(
            decisive, key=lambda pair: _known(pair.low if overall == "holds" else pair.high)
        )
    else:
        weakest = max(decisive, key=lambda pair: abs(_known(pair.measured)))
    basis = _difference(weakest)
    if within is not None:
        basis += f"; to stay within ±{within:g}"
    if len(pairs) > 1:
        what = "the clearest" if overall == "fails" else "the weakest"
        counts = ", ".join(
            f"{verdicts.count(name)} {word}"
            for name, word in (("holds", "hold"), ("undecided", "undecided"), ("fails", "fail"))
            if name in verdicts
        )
        basis = f"Of {len(pairs)} differences {counts}; {what}: {basis}"
    return overall, f"{basis}."


def _judge_mean(
    means: Sequence[float], pairs: Sequence[Pair], margin: float
) -> tuple[ClaimVerdict, str]:
    interval = _interval(means, margin)
    stated = [pair.published for pair in pairs if pair.published is not None]
    paper = f"; the paper's {mean(stated):+.2f}" if len(stated) == len(pairs) else ""
    measured = _spread(mean(means), interval, len(means))
    basis = f"Mean of {len(pairs)} differences {measured}{paper}."
    return judge_difference(interval.low, interval.high), basis


def _difference(pair: Pair) -> str:
    interval = Interval(low=_known(pair.low), high=_known(pair.high))
    paper = "" if pair.published is None else f"; the paper's {pair.published:+.2f}"
    return f"{pair.a} − {pair.b} = {_spread(_known(pair.measured), interval, pair.n)}{paper}"


def _spread(value: float, interval: Interval, n: int) -> str:
    seeds = "single seed" if n == 1 else f"{n} seeds"
    return f"{value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}], {seeds}"


def _known(value: float | None) -> float:
    assert value is not None
    return value
