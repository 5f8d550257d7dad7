"""The main command on a plan of which everything is done, by the number of cells."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.growth.curves import Curve, measured
from replication.data.sources import Sources
from replication.plan import build
from replication.spec import load_tables
from replication.tiers import load_tier

HOME = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 4, 7, 14)


def command(results: Path, seeds: int) -> list[str]:
    return [
        sys.executable, "-m", "replication.run", "--all", "--tier", "smoke", "--seeds", str(seeds),
        "--results", str(results), "--device", "cpu",
    ]  # fmt: skip


def curve(repetitions: int) -> Curve:
    """Records of one seed, made by running it, are copied to the others under their own names."""
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results"
        subprocess.run(command(results, 1), cwd=HOME, check=True, stdout=subprocess.DEVNULL)
        cells = _copy(results / "smoke" / "steps", max(SEEDS))

        def run(seeds: int) -> Callable[[], object]:
            return lambda: subprocess.run(
                command(results, seeds), cwd=HOME, check=True, stdout=subprocess.DEVNULL
            )

        sizes, seconds = measured({cells * seeds: run(seeds) for seeds in SEEDS}, repetitions)
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
