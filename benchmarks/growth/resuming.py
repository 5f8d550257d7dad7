"""The main command on a plan of which everything is done, by the number of cells."""

import json
import shutil
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.commands import python
from benchmarks.growth.curves import Curve, Run, measured
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.plan import build
from replication.spec import load_tables
from replication.tiers import load_tier

SEEDS = (1, 2, 4, 7, 14)


def run(results: Path, seeds: int) -> None:
    python(
        "-m", "replication.run", "--all", "--tier", "smoke", "--seeds", str(seeds),
        "--results", str(results), "--device", "cpu",
    )  # fmt: skip


def curve(repetitions: int) -> Curve:
    """Records of one seed, made by running it, are copied to the others under their own names."""
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results"
        run(results, 1)
        cells = _copy(results / "smoke" / "steps", max(SEEDS))
        runs: dict[float, Run] = {cells * seeds: partial(run, results, seeds) for seeds in SEEDS}
        sizes, seconds = measured(runs, repetitions)
    return Curve(
        what="The main command on a plan that is done, tables and figure rendered",
        against="cells",
        sizes=sizes,
        seconds=seconds,
        note="Start-up and the tables are in all of them.",
    )


def _copy(steps: Path, seeds: int) -> int:
    """Give every seed the records of the first; returns the cells of one seed."""
    tier = load_tier("smoke", HOME / "tiers")
    sources = Sources.of(tier.data, {}, cached=True)
    papers = [table for table in load_tables(HOME / "tables") if isinstance(table.key, int)]
    plan = build(papers, tier, sources, range(seeds))
    by_cell = {(run.name, run.seed): run for run in plan.runs}
    for (name, seed), run in by_cell.items():
        for step, like in zip(run.steps, by_cell[name, 0].steps, strict=True):
            target = steps / step.id
            if seed and not target.exists():
                shutil.copytree(steps / like.id, target)
                (target / "config.json").write_text(json.dumps(step.identity, indent=1) + "\n")
    return len(by_cell) // seeds
