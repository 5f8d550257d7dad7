"""How often the claims' verdicts are false, by simulation: `python -m benchmarks.false_alarms`.

The claims of every table of the paper are judged on seeds of cells whose true means are known.
"Supported" is false where a true difference does not meet the claim's conditions, "contradicted"
where none violates them; Holm's correction must keep the chance of any false verdict in a table at
5 %. First all cells are equal: cells that share a seed's luck, cells that do not, and cells of
unequal deviation. A sentence over several pairs is then hard to support by chance, so that cells
far apart in the published order are tried too ("a pair"), of which one pair of neighbours, drawn
anew for each table, is equal. Last, how often a true ordering is found: what the correction costs.
Minutes on one core, the same figures every time.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.given import at_least_one
from replication import arguments
from replication.claims import ALPHA, judge_claims
from replication.evidence import conditions
from replication.results import ClaimResult, ClaimVerdict, SeedRun
from replication.spec import Claim, load_tables
from replication.spec import Table as Spec
from replication.statistics import mean

COUNTS = (3, 5, 10)
# Of one cell over seeds, in points of mIoU; false alarms do not depend on it, `within` aside.
DEVIATION = 0.6
# In deviations: neighbours that no seed confuses.
FAR = 20.0
# True differences between neighbours of an ordering, in deviations of one cell.
GAINS = (1.0, 2.0, 4.0, 8.0)
# Claims that a difference of zero bears out.
TOLERANT = ("similar", "no_worse")
PAPER = arguments.HOME / "tables"

# Noise (cells, seeds), and the cells' true means (cells,).
Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]
Means = Callable[[np.random.Generator, Spec], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Null:
    """How cells are simulated whose claims have something false to say."""

    name: str
    noise: Draw
    means: Means
    # Whether a seed is the same luck for all cells, so that they are compared seed by seed.
    shared: bool = False


def apart(generator: np.random.Generator, cells: int, seeds: int) -> NDArray[np.float64]:
    """Cells (cells, seeds) that have nothing in common."""
    return generator.standard_normal((cells, seeds))


def together(generator: np.random.Generator, cells: int, seeds: int) -> NDArray[np.float64]:
    """Cells of which a seed's luck is half the variance."""
    luck = generator.standard_normal((1, seeds))
    return (generator.standard_normal((cells, seeds)) + luck) / math.sqrt(2)


def unequal(generator: np.random.Generator, cells: int, seeds: int) -> NDArray[np.float64]:
    """Cells whose deviations grow from 0.25 to 4."""
    spread = np.geomspace(0.25, 4.0, cells)[:, None]
    return generator.standard_normal((cells, seeds)) * spread


def level(_: np.random.Generator, spec: Spec) -> NDArray[np.float64]:
    """All cells are equal."""
    return np.zeros(len(cells_of(spec)))


def one_pair(generator: np.random.Generator, spec: Spec) -> NDArray[np.float64]:
    """Cells stand FAR deviations apart in the published order, but for two neighbours."""
    place = ranks(spec)
    equal = generator.integers(1, len(place))
    return DEVIATION * FAR * np.where(place == equal, place - 1, place).astype(np.float64)


NULLS = (
    Null(name="apart", noise=apart, means=level),
    Null(name="shared", noise=together, means=level, shared=True),
    Null(name="uneven", noise=unequal, means=level),
    Null(name="a pair", noise=apart, means=one_pair),
)


def cells_of(spec: Spec) -> tuple[str, ...]:
    """The cells that a table's claims are about."""
    return tuple(dict.fromkeys(cell for claim in spec.claims for cell in claim.cells))


def ranks(spec: Spec) -> NDArray[np.int64]:
    """The place of each of these cells in the order of the published numbers, from 0."""
    published = [spec.cell(name).published or 0.0 for name in cells_of(spec)]
    return np.argsort(np.argsort(published))


def judged(spec: Spec, values: NDArray[np.float64], *, shared: bool) -> tuple[ClaimResult, ...]:
    """A table's claims on values (cells, seeds), in points around 60."""
    runs = {
        cell: [
            SeedRun(seed=seed, miou=60 + float(value), draws="" if shared else cell)
            for seed, value in enumerate(row)
        ]
        for cell, row in zip(cells_of(spec), values, strict=True)
    }
    return judge_claims(spec.claims, runs, {}, 0.0, comparable=False)


def alarm(claim: Claim, verdict: ClaimVerdict, true: Mapping[str, float]) -> bool:
    """Whether a verdict is false, the cells' true means being these."""
    differences = [true[a] - true[b] for a, b in claim.pairs]
    if claim.mode == "mean":
        differences = [mean(differences)]
    met = conditions(claim, comparable=False)
    # By how much each condition is met; what is to be above zero is not met by zero.
    least = min(condition.room(one) for one in differences for condition in met)
    return (verdict == "supported" and least <= 0) or (verdict == "contradicted" and least >= 0)


def alarms(spec: Spec, n: int, draws: int, null: Null) -> float:
    """The share of simulated tables with any false verdict."""
    generator = np.random.default_rng([spec.number or 0, n])
    cells, found = cells_of(spec), 0
    for _ in range(draws):
        means = null.means(generator, spec)
        values = means[:, None] + DEVIATION * null.noise(generator, len(cells), n)
        true = dict(zip(cells, means.tolist(), strict=True))
        results = judged(spec, values, shared=null.shared)
        found += any(
            alarm(claim, result.verdict, true)
            for claim, result in zip(spec.claims, results, strict=True)
        )
    return found / draws


def found(spec: Spec, n: int, gain: float, draws: int) -> float:
    """The share of a table's orderings that are supported where all of them are true.

    Cells stand `gain` deviations apart in the order in which the paper's numbers put them.
    """
    generator = np.random.default_rng([spec.number or 0, n])
    height = gain * ranks(spec)[:, None]
    supported, orderings = 0, 0
    for _ in range(draws):
        values = DEVIATION * (apart(generator, len(height), n) + height)
        for claim in judged(spec, values, shared=False):
            if claim.kind not in TOLERANT:
                orderings += 1
                supported += claim.verdict == "supported"
    return supported / orderings


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.false_alarms", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--draws", type=int, default=2000, help="simulated tables each (2,000)")
    parser.add_argument("--tables", type=Path, default=PAPER, metavar="DIR")
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    at_least_one(draws=options.draws)
    specs = [one for one in load_tables(options.tables) if one.claims and one.number]
    console = Console(width=120, highlight=False)
    largest = math.sqrt(ALPHA * (1 - ALPHA) / options.draws)
    console.print(
        f"Tables with any false verdict over n seeds, in % ({options.draws:,} draws each, standard "
        f"error up to {100 * largest:.1f}); to be at most {100 * ALPHA:g}. All cells equal: apart, "
        "sharing half of their variance (paired by seed), or of deviations from 0.25 to 4. Then "
        f"one pair of neighbours equal, all others {FAR:g} deviations apart",
        _alarms(specs, options.draws),
        "True orderings found, in %, cells standing this many deviations apart, not paired",
        _powers(specs, max(1, options.draws // 10)),
        sep="\n",
    )
    return arguments.EXIT_OK


def _alarms(specs: Sequence[Spec], draws: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("table")
    table.add_column("claims", justify="right")
    for n in COUNTS:
        for null in NULLS:
            table.add_column(f"n = {n}\n{null.name}", justify="right")
    shares: list[list[float]] = []
    for spec in specs:
        row = [alarms(spec, n, draws, null) for n in COUNTS for null in NULLS]
        shares.append(row)
        table.add_row(
            str(spec.number), str(len(spec.claims)), *(f"{100 * share:.1f}" for share in row)
        )
    table.add_section()
    means = [sum(column) / len(column) for column in zip(*shares, strict=True)]
    table.add_row("all", "", *(f"{100 * share:.1f}" for share in means))
    return table


def _powers(specs: Sequence[Spec], draws: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("table")
    for n in COUNTS:
        for gain in GAINS:
            table.add_column(f"{n} seeds\n{gain:g} s", justify="right")
    for spec in specs:
        if all(claim.kind in TOLERANT for claim in spec.claims):
            continue
        shares = [found(spec, n, gain, draws) for n in COUNTS for gain in GAINS]
        table.add_row(str(spec.number), *(f"{100 * share:.0f}" for share in shares))
    return table


if __name__ == "__main__":
    sys.exit(main())
