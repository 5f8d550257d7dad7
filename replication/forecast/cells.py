"""FLOPs, bytes and parameters of every cell, counted.

python -m replication.forecast.cells --tier paper
python -m replication.forecast.cells --tier paper --cell table6/os8-ms-flip --blocks
"""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from replication import arguments
from replication.forecast.counting import Pass, by_block, segmentation
from replication.forecast.effort import iteration, sweep
from replication.forecast.pictures import Splits
from replication.forecast.shown import columns
from replication.inference import BATCH_PIXELS
from replication.plan import CellRun
from replication.planned import add_options, planned
from replication.protocol import Network, Stage

HEADING = (
    "cell", "parameters (M)", "TFLOP an iteration", "GB moved", "FLOP a byte", "kept (GB)",
    "PFLOP a training", "TFLOP a picture", "GB moved",
)  # fmt: skip


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m replication.forecast.cells",
        description="Count the FLOPs and bytes of each cell's last training and its evaluation.",
    )
    parser.add_argument("--cell", action="append", default=[], metavar="tableN/ID")
    parser.add_argument("--blocks", action="store_true", help="also each network by its blocks")
    add_options(parser)
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    asked = planned(options)
    plan, splits = asked.plan(cells=options.cell), Splits(asked.sources)
    console = Console(soft_wrap=True, highlight=False)
    runs = [run for run in plan.runs if run.seed == asked.seeds[0]]
    rows = [HEADING, *(_row(run, splits) for run in runs)]
    for line in columns(rows, range(1, len(HEADING))):
        console.print(line, markup=False)
    if options.blocks:
        for run in runs:
            console.print(f"\n{run.name}", markup=False)
            for line in columns(_blocks(run, splits), (1, 2)):
                console.print(line, markup=False)
    return arguments.EXIT_OK


def _counted(run: CellRun, splits: Splits) -> tuple[Stage, Pass, int]:
    """A cell's last stage, its network on one crop, and the data's classes."""
    config = run.chain[-1].config
    stage = Stage.model_validate(config["stage"])
    network = Network.model_validate(config["network"])
    classes = splits.of(config["data"]["role"], config["data"]["split"]).classes
    crop = stage.crop_size
    return stage, segmentation(network, classes, stage.output_stride, crop, crop), classes


def _row(run: CellRun, splits: Splits) -> tuple[str, ...]:
    stage, counted, classes = _counted(run, splits)
    one = iteration(run.chain[-1].config, classes)
    moved = one.moved + one.convolved
    row = [
        run.name,
        f"{counted.parameters / 1e6:.1f}",
        f"{one.flops / 1e12:.3g}",
        f"{moved / 1e9:.3g}",
        f"{one.flops / moved:.0f}",
        f"{counted.kept(stage.batch_size // stage.accumulate) / 1e9:.3g}",
        f"{one.flops * stage.iterations / 1e15:.3g}",
    ]
    if run.evaluation is None:
        return (*row, "", "")
    evaluation = run.evaluation.config
    split = splits.of(evaluation["data"]["role"], evaluation["data"]["split"])
    whole = sweep([evaluation], split.classes, split.sizes, BATCH_PIXELS["cpu"])
    picture = whole.times(1 / whole.units, 1)
    return (
        *row,
        f"{picture.flops / 1e12:.3g}",
        f"{(picture.moved + picture.convolved) / 1e9:.3g}",
    )


def _blocks(run: CellRun, splits: Splits) -> list[tuple[str, str, str]]:
    _, counted, _ = _counted(run, splits)
    rows = [("", "GFLOP forward, a picture", "parameters (M)")]
    for name, (flops, parameters) in by_block(counted).items():
        rows.append((name, f"{flops / 1e9:.3g}", f"{parameters / 1e6:.3g}"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
