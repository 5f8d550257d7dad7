"""What bfloat16 costs in mIoU and saves in time: `python -m benchmarks.precision`.

    python -m replication.run --table 4 --tier micro --seeds 3
    python -m replication.run --table 4 --tier micro-bf16 --seeds 3
    python -m benchmarks.precision --table 4 --seeds 3

Reads the records of both tiers, which differ in the precision of trainings and evaluations alone,
and prints each cell's difference, seed by seed, with its 95 % interval where there are two seeds or
more, and what the differences are over all evaluations. What is missing is named with the command
that makes it.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence

from benchmarks.given import at_least_one
from replication import arguments
from replication.data.sources import Sources
from replication.differences import paired
from replication.plan import build
from replication.runs import Store
from replication.spec import load_tables
from replication.tiers import load_tier

TIERS = ("micro", "micro-bf16")


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.precision", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--table", type=int, action="append", metavar="N")
    parser.add_argument("--seeds", type=int, default=3)
    arguments.add_places(parser)
    options = parser.parse_args(given)
    return arguments.guarded(lambda: report(options))


def report(options: argparse.Namespace) -> int:
    at_least_one(seeds=options.seeds)
    scores: dict[str, dict[str, list[float]]] = {}
    evaluations: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    asked = " ".join(f"--table {number}" for number in options.table or [4])
    for name in TIERS:
        tier = load_tier(name, options.tiers)
        store, sources = Store(options.results / name), Sources.of(tier.data, {})
        tables = load_tables(options.tables, options.table or [4])
        plan = build(tables, tier, sources, range(options.seeds))
        if any(store.status(step) != "done" for step in plan.steps.values()):
            again = f"{asked} --tier {name} --seeds {options.seeds}"
            print(f"missing: python -m replication.run {again}")
            return arguments.EXIT_FAILED
        cells = scores.setdefault(name, {})
        for run in plan.runs:
            assert run.evaluation is not None
            cells.setdefault(run.name, []).append(store.outcome(run.evaluation.id)["miou"])
        evaluated = plan.of_kind("evaluate")
        evaluations[name] = [store.outcome(step.id)["miou"] for step in evaluated]
        trained = plan.of_kind("train")
        seconds[name] = [store.outcome(step.id)["seconds"] for step in trained]
    for cell, ours in scores[TIERS[1]].items():
        theirs = scores[TIERS[0]][cell]
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        if options.seeds == 1:
            print(f"{cell}: {differences[0]:+.2f}")
            continue
        found = paired(differences)
        interval = found.interval(0.025)
        each = ", ".join(f"{one:+.2f}" for one in differences)
        print(f"{cell}: {found.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}] ({each})")
    every = [a - b for a, b in zip(evaluations[TIERS[1]], evaluations[TIERS[0]], strict=True)]
    print(
        f"all {len(every)} evaluations: mean {statistics.mean(every):+.2f}, "
        f"median {statistics.median(every):+.2f}, of {min(every):+.2f} to {max(every):+.2f}"
    )
    ratio = statistics.median(
        a / b for a, b in zip(seconds[TIERS[0]], seconds[TIERS[1]], strict=True)
    )
    print(f"a training in fp32 takes {ratio:.2f} times as long as in bf16 (as recorded)")
    return arguments.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
