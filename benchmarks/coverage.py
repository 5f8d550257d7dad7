"""What the intervals over seeds are worth, by simulation: `python -m benchmarks.coverage`.

How often the prediction interval that a cell's verdict rests on holds one further run, how often a
percentile bootstrap over seeds, which is not used, holds the mean; and the smallest difference
between two cells that a few seeds can show. Seconds on one core, the same figures every time.
"""

import math
import sys
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.given import at_least_one
from replication import arguments
from replication.statistics import prediction_half_width, smallest_difference

COUNTS = (3, 5, 10)
# Deviations over seeds: those that are hoped for at full size, and up to what cells of the micro
# tier vary by, 0.3 to 11 points of mIoU with a backbone of each seed's own (tiers/micro.toml).
DEVIATIONS = (0.3, 0.6, 1.2, 3.0, 10.0)
RESAMPLES = 2000
# Sets of seeds that are bootstrapped together: 1,000 x 2,000 means are 16 MB.
BLOCK = 1000


def coverage(n: int, draws: int, generator: np.random.Generator) -> float:
    """How often the 95 % prediction interval of n normal values holds one more."""
    values = generator.standard_normal((draws, n))
    half = prediction_half_width(1.0, n) * values.std(axis=1, ddof=1)
    further = generator.standard_normal(draws)
    return float(np.mean(np.abs(further - values.mean(axis=1)) <= half))


def bootstrap_coverage(n: int, draws: int, generator: np.random.Generator) -> float:
    """How often the 95 % percentile bootstrap interval of n normal values holds their true mean.

    From 3 values it reaches from the smallest to the largest: of the 27 resamples one is the
    smallest alone, which is more than 2.5 %. The mean lies outside when all three fall to one side
    of it, so 75 % is the best that it can do.
    """
    # How often each value is in each resample (n, RESAMPLES), the same for every set of values.
    shares = generator.multinomial(n, [1 / n] * n, size=RESAMPLES).T / n
    held = 0
    for start in range(0, draws, BLOCK):
        values = generator.standard_normal((min(BLOCK, draws - start), n))
        means = np.sort(values @ shares, axis=1)
        low = means[:, math.floor(0.025 * RESAMPLES)]
        high = means[:, math.ceil(0.975 * RESAMPLES) - 1]
        held += int(np.sum((low <= 0) & (high >= 0)))
    return held / draws


def standard_error(share: float, draws: int) -> float:
    """Of a share of simulated draws: sqrt(p (1 - p) / draws)."""
    return math.sqrt(share * (1 - share) / draws)


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.coverage", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--draws", type=int, default=200_000, help="sets of seeds (200,000)")
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options.draws))


def _main(draws: int) -> int:
    at_least_one(draws=draws)
    generator = np.random.default_rng(0)
    console = Console(width=100, highlight=False)
    console.print(
        f"95 % intervals over n normal seeds: coverage in % by simulation, ± its standard error "
        f"({draws:,} draws; a tenth for the bootstrap)",
        _coverages(draws, generator),
        "Smallest difference between two cells, in points of mIoU, that n paired seeds show with "
        "80 % power (one-sided t-test at 5 %)",
        _powers(),
        "s is the deviation of the differences, seed by seed. Where the two cells of a seed have "
        "nothing in common it is 1.41 times the deviation of one cell; seeds that share their "
        "data's order and initialisation can make it smaller.",
        sep="\n",
    )
    return arguments.EXIT_OK


def _coverages(draws: int, generator: np.random.Generator) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("n", justify="right")
    table.add_column("prediction interval\nholds one further run", justify="right")
    table.add_column("percentile bootstrap (not used)\nholds the mean", justify="right")
    fewer = max(1, draws // 10)
    for n in COUNTS:
        found = [
            (coverage(n, draws, generator), draws),
            (bootstrap_coverage(n, fewer, generator), fewer),
        ]
        shown = [f"{100 * p:.2f} ± {100 * standard_error(p, of):.2f}" for p, of in found]
        table.add_row(str(n), *shown)
    return table


def _powers() -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("n", justify="right")
    for deviation in DEVIATIONS:
        table.add_column(f"s = {deviation:g}", justify="right")
    for n in range(2, 11):
        table.add_row(str(n), *(f"{smallest_difference(s, n):.2f}" for s in DEVIATIONS))
    return table


if __name__ == "__main__":
    sys.exit(main())
