"""Published against measured: the verdict on each cell and on the whole table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from replication.arrangement import arranged
from replication.claims import judge_claims
from replication.plan import available
from replication.results import (
    CellResult,
    CellVerdict,
    ClaimResult,
    Extra,
    Measured,
    OpenPoint,
    SeedRun,
    TableResult,
    by_hand,
)
from replication.spec import Cell, Table
from replication.statistics import mean, prediction_floor, prediction_interval, seeds_needed
from replication.tiers import Tier

__all__ = [
    "CellResult",
    "ClaimResult",
    "SeedRun",
    "TableResult",
    "judge_cell",
    "judge_published",
    "judge_table",
]

# One run reproduces a published number if it comes this near, in points of mIoU: public pairs of
# runs of one recipe lie up to 0.7 apart, and ours need not be the paper's recipe in every detail.
SINGLE_SEED_TOLERANCE = 1.0

# A prediction interval that reaches further than this to either side, in points of mIoU, holds too
# much to call it a reproduction.
LARGEST_HALF_WIDTH = 2.0


def judge_table(
    table: Table,
    tier: Tier,
    results: Mapping[str, Sequence[SeedRun]],
    open_points: Sequence[OpenPoint] = (),
) -> TableResult:
    """Judge a table from the runs of its cells, by cell id; cells without runs are not run."""
    published = {cell.id: cell.published for cell in table.cells}
    return TableResult(
        table=table.key,
        title=table.title,
        source=table.source,
        tier=tier.name,
        comparable=tier.comparable,
        notice=_notice(tier),
        cells=tuple(
            replace(
                judge_cell(cell, tier, results.get(cell.id, ()), bold=cell.id == table.bold),
                against=cell.against,
                difference=_difference(cell, results),
            )
            for cell in table.cells
        ),
        claims=judge_claims(
            table.claims,
            results,
            published,
            tier.single_seed_margin,
            comparable=tier.comparable,
        ),
        notes=table.notes,
        layout=arranged(table),
        open_points=tuple(open_points),
    )


def _difference(cell: Cell, results: Mapping[str, Sequence[SeedRun]]) -> Measured | None:
    """The cell less the one that it is a variant of, seed by seed."""
    if cell.against is None:
        return None
    own, other = (
        {run.seed: run.value for run in results.get(id_, ()) if run.value is not None}
        for id_ in (cell.id, cell.against)
    )
    seeds = tuple(seed for seed in own if seed in other)
    values = tuple(own[seed] - other[seed] for seed in seeds)
    return Measured(seeds=seeds, values=values) if seeds else None


def _notice(tier: Tier) -> str:
    if tier.comparable:
        return ""
    return (
        f"Measured at the {tier.name} tier ({tier.summary}). These numbers are not comparable "
        "with the published ones; only the paper's claims (orderings) are judged here."
    )


def judge_published(published: float, measured: Measured) -> tuple[CellVerdict, str]:
    """The verdict on a comparable number, and what it rests on.

    With several seeds: does the 95 % prediction interval for one more run, which is what the
    published number is, contain it? One too wide to call that a reproduction can still exclude the
    number. A single seed is held to a declared tolerance.
    """
    if measured.n == 1:
        difference = measured.mean - published
        reason = (
            f"single seed: {difference:+.2f} against a tolerance of {SINGLE_SEED_TOLERANCE:.1f}"
        )
        # Published numbers carry two decimals: compare at that precision, not at floating point's.
        if abs(round(difference, 6)) <= SINGLE_SEED_TOLERANCE:
            return "reproduced", reason
        return ("below" if difference < 0 else "above"), reason
    expected = prediction_interval(measured.values)
    reason = (
        f"one more run is expected in [{expected.low:.2f}, {expected.high:.2f}] ({_runs(measured)})"
    )
    if published > expected.high:
        return "below", reason
    if published < expected.low:
        return "above", reason
    if expected.half_width > LARGEST_HALF_WIDTH:
        return "inconclusive", f"{reason}: {_too_wide(measured, expected.half_width)}"
    return "reproduced", reason


def _too_wide(measured: Measured, half_width: float) -> str:
    """That the interval says too little, and with how many seeds it would say enough."""
    assert measured.sd is not None
    said = (
        f"it reaches {half_width:.2f} to either side, more than the declared "
        f"{LARGEST_HALF_WIDTH:.1f}"
    )
    seeds = seeds_needed(measured.sd, LARGEST_HALF_WIDTH)
    if seeds is not None:
        return f"{said}; at this deviation {seeds:,} seeds in all would decide it"
    return (
        f"{said}; no number of seeds would decide it at this deviation, since one run alone "
        f"scatters by 1.96 × {measured.sd:.2f} = {prediction_floor(measured.sd):.2f}"
    )


def judge_cell(
    cell: Cell, tier: Tier, runs: Sequence[SeedRun], *, bold: bool = False
) -> CellResult:
    """Judge one cell from what was recorded under each seed that was asked for."""
    finished = [(run.seed, run.value) for run in runs if run.value is not None]
    measured = None
    if finished:
        measured = Measured(
            seeds=tuple(seed for seed, _ in finished), values=tuple(value for _, value in finished)
        )
    verdict, reason = _cell_verdict(cell, tier, runs, measured)
    return CellResult(
        cell=cell.id,
        table=cell.table,
        method=cell.method or cell.label,
        published=cell.published,
        bold=bold,
        measured=measured,
        verdict=verdict,
        reason=reason,
        training=tuple(run.training for run in runs),
        evaluation=tuple(run.evaluation for run in runs),
        per_class=_per_class(runs),
        extra=_extra(cell, runs),
        note=cell.note or "",
        entered=tuple(run.entered for run in runs if run.entered),
    )


def _cell_verdict(
    cell: Cell, tier: Tier, runs: Sequence[SeedRun], measured: Measured | None
) -> tuple[CellVerdict, str]:
    why = available(cell, tier)
    entered = [run.entered for run in runs if run.entered]
    if why is not None and not entered:
        return "unavailable", _joined(why, runs)
    if cell.network is None:
        return "published only", "another group's number, quoted by the paper"
    failures = [f"seed {run.seed}: {run.problem}" for run in runs if run.problem]
    if failures:
        return "failed", _joined("; ".join(failures), runs)
    if measured is None:
        return "not run", "no run of this cell has finished"
    waiting = [run.seed for run in runs if run.miou is None]
    still = f"; {_seeds(waiting)} not {'scored' if entered else 'run'}" if waiting else ""
    suspicious = [f"seed {run.seed}: {line}" for run in runs for line in run.findings]
    if suspicious:
        return "suspect", _joined("; ".join(suspicious), runs)
    if not tier.comparable or cell.published is None:
        return "not comparable", _joined(f"measured at the {tier.name} tier{still}", runs)
    verdict, reason = judge_published(cell.published, measured)
    if verdict == "above":
        reason += f"; {_warning([run for run in runs if run.value is not None])}"
    return verdict, _joined(reason + still, runs)


def _warning(runs: Sequence[SeedRun]) -> str:
    """What a number above the paper's asks for first: how evaluated pictures might have been seen
    in training, and what was done to rule it out.
    """
    made = _shared({run.seed: run.leak_checks.made for run in runs})
    lacking = _shared({run.seed: run.leak_checks.lacking for run in runs})
    said = f"leak checks found nothing: {', '.join(made)}" if made else "no leak check was made"
    unknown = f"; not checked: {', '.join(lacking)}" if lacking else ""
    return f"above is a warning: suspect a leak first; {said}{unknown}"


def _shared(lines: Mapping[int, Sequence[str]]) -> list[str]:
    """Every line once, with the seeds that it holds for unless it holds for all."""
    found = dict.fromkeys(line for each in lines.values() for line in each)
    holds = {line: [seed for seed, each in lines.items() if line in each] for line in found}
    return [
        line if len(seeds) == len(lines) else f"{line} ({_seeds(seeds)})"
        for line, seeds in holds.items()
    ]


def _joined(reason: str, runs: Sequence[SeedRun]) -> str:
    """The reason with what was entered by hand and how it stands with the test server."""
    entered = by_hand([run.entered for run in runs if run.entered])
    remarks = dict.fromkeys(run.remark for run in runs)
    return "; ".join(part for part in (reason, entered, *remarks) if part)


def _per_class(runs: Sequence[SeedRun]) -> dict[str, float | None]:
    """The mean over the seeds in which the class occurs."""
    names = dict.fromkeys(name for run in runs if run.value is not None for name in run.per_class)
    result: dict[str, float | None] = {}
    for name in names:
        found = [run.per_class.get(name) for run in runs if run.value is not None]
        values = [value for value in found if value is not None and value == value]
        result[name] = mean(values) if values else None
    return result


def _extra(cell: Cell, runs: Sequence[SeedRun]) -> dict[str, Extra]:
    """The further quantities that the paper gives for the cell, beside ours where measured."""
    result = {}
    for name, published in cell.also.items():
        values = [run.extra[name] for run in runs if name in run.extra]
        result[name] = Extra(published=published, measured=mean(values) if values else None)
    return result


def _runs(measured: Measured) -> str:
    return f"{measured.mean:.2f} ± {measured.sd:.2f}, {measured.n} seeds"


def _seeds(seeds: Iterable[int]) -> str:
    listed = [str(seed) for seed in seeds]
    return f"seed{'s' if len(listed) > 1 else ''} {', '.join(listed)}"
