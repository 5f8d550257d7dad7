"""What ImageNet weights are worth on a small real set: `python -m benchmarks.pretraining`.

    python -m benchmarks.pretraining --data voc=PATH --weights resnet50=FILE [--seeds 3]

Reads the records of one cell at the tiers `reduced` and `reduced-random`, which differ in nothing
but the weights that the training starts from, and prints the IoU averaged over the classes that
the val part holds (a part of VOC need not hold all 21), seed by seed. What is missing is named
with the command that makes it.
"""

import argparse
import json
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from benchmarks.given import at_least_one
from replication import arguments
from replication.data.sources import Sources
from replication.metrics import iou
from replication.plan import build
from replication.runs import Store
from replication.spec import load_tables
from replication.tiers import load_tier

TIERS = ("reduced", "reduced-random")


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.pretraining", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--cell", default="table2/resnet50-block4")
    parser.add_argument("--seeds", type=int, default=1)
    arguments.add_inputs(parser)
    arguments.add_places(parser)
    options = parser.parse_args(given)
    return arguments.guarded(lambda: report(options))


def report(options: argparse.Namespace) -> int:
    at_least_one(seeds=options.seeds)
    hashes = arguments.hashes(arguments.pairs(options.weights, "--weights", "BACKBONE=FILE"))
    found: dict[str, list[float]] = {}
    for name in TIERS:
        tier = load_tier(name, options.tiers)
        sources = Sources.of(tier.data, arguments.pairs(options.data, "--data", "ROLE=PATH"))
        tables = load_tables(options.tables)
        seeds = range(tier.first_seed, tier.first_seed + options.seeds)
        plan = build(tables, tier, sources, seeds, only=[options.cell], weights=hashes)
        store = Store(options.results / name)
        found[name] = []
        for run in plan.runs:
            evaluation = run.evaluation
            assert evaluation is not None
            if store.status(evaluation) != "done":
                again = f"--tier {name} --seeds {options.seeds}"
                print(f"missing: python -m replication.run --cell {options.cell} {again} …")
                return arguments.EXIT_FAILED
            counts = load_file(store.path(evaluation.id) / "counts.safetensors")["confusion"]
            value, present = over_present(counts.sum(0, dtype=np.int64))
            trained = json.loads((store.path(run.chain[-1].id) / "outcome.json").read_text())
            outcome = store.outcome(evaluation.id)
            seconds = trained["seconds"] + outcome["seconds"]
            found[name].append(value)
            print(
                f"{name:<15} seed {run.seed}: {value:5.2f} over the {present} classes present "
                f"({outcome['miou']:.2f} over those present or predicted), {seconds / 60:.1f} min"
            )
    differences = np.array(found[TIERS[0]]) - np.array(found[TIERS[1]])
    print(f"difference: {', '.join(f'{one:+.2f}' for one in differences)}")
    return arguments.EXIT_OK


def over_present(confusion: NDArray[np.int64]) -> tuple[float, int]:
    """Mean IoU in percent over the classes with a pixel in the truth, and how many there are."""
    present = confusion.sum(1) > 0
    return float(100.0 * iou(confusion)[present].mean()), int(present.sum())


if __name__ == "__main__":
    sys.exit(main())
