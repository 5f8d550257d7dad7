"""How often the claims' verdicts are false, by simulation: `python -m benchmarks.false_alarms`.

The claims of every table of the paper are judged on seeds of cells that are all equal, where every
"supported" ordering and every "contradicted" claim is false: Holm's correction must keep the chance
of any of them in a table at 5 %. Cells that share a seed's luck, cells that do not, and cells of
unequal deviation are tried. Then, how often a true ordering is found: what the correction costs.
Minutes on one core, the same figures every time.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.given import at_least_one
from replication import arguments
from replication.claims import ALPHA, judge_claims
from replication.results import ClaimResult, SeedRun
from replication.spec import Table as Spec
from replication.spec import load_tables

COUNTS = (3, 5, 10)
# Of one cell over seeds, in points of mIoU; false alarms do not depend on it, `within` aside.
DEVIATION = 0.6
# True differences between neighbours of an ordering, in deviations of one cell.
GAINS = (1.0, 2.0, 4.0, 8.0)
PAPER = arguments.HOME / "tables"

Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


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


def judged(spec: Spec, values: NDArray[np.float64], *, shared: bool) -> tuple[ClaimResult, ...]:
    """A table's claims on values (cells, seeds), in points around 60."""
    cells = dict.fromkeys(cell for claim in spec.claims for cell in claim.cells)
    runs = {
        cell: [
            SeedRun(seed=seed, miou=60 + float(value), draws="" if shared else cell)
            for seed, value in enumerate(row)
        ]
        for cell, row in zip(cells, values, strict=True)
    }
    return judge_claims(spec.claims, runs, {}, 0.0, comparable=False)


def alarm(claims: Sequence[ClaimResult]) -> bool:
    """Whether any verdict is false, all cells being equal: "similar" alone is then true."""
    return any(
        claim.verdict == "contradicted"
        or (claim.verdict == "supported" and claim.kind != "similar")
        for claim in claims
    )


def cells_of(spec: Spec) -> int:
    return len({cell for claim in spec.claims for cell in claim.cells})


def alarms(spec: Spec, n: int, draws: int, draw: Draw, *, shared: bool) -> float:
    """The share of simulated tables of equal cells with any false verdict."""
    generator = np.random.default_rng([spec.number or 0, n])
    return (
        sum(
            alarm(judged(spec, DEVIATION * draw(generator, cells_of(spec), n), shared=shared))
            for _ in range(draws)
        )
        / draws
    )


def found(spec: Spec, n: int, gain: float, draws: int) -> float:
    """The share of a table's orderings that are supported where all of them are true.

    Cells stand `gain` deviations apart in the order in which the paper's numbers put them.
    """
    generator = np.random.default_rng([spec.number or 0, n])
    names = list(dict.fromkeys(cell for claim in spec.claims for cell in claim.cells))
    published = [spec.cell(name).published or 0.0 for name in names]
    height = gain * np.argsort(np.argsort(published))[:, None]
    supported, orderings = 0, 0
    for _ in range(draws):
        values = DEVIATION * (apart(generator, len(names), n) + height)
        for claim in judged(spec, values, shared=False):
            if claim.kind != "similar":
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
        f"Tables with any false verdict, in %, all cells being equal ({options.draws:,} draws "
        f"each, standard error up to {100 * largest:.1f}); to be at most {100 * ALPHA:g}. Cells "
        "apart, sharing half of their variance (paired by seed), or of deviations from 0.25 to 4",
        _alarms(specs, options.draws),
        "True orderings found, in %, cells standing this many deviations apart, not paired",
        _powers(specs, max(1, options.draws // 10)),
        sep="\n",
    )
    return arguments.EXIT_OK


def _alarms(specs: Sequence[Spec], draws: int) -> Table:
    settings: tuple[tuple[str, Draw, bool], ...] = (
        ("apart", apart, False),
        ("shared", together, True),
        ("uneven", unequal, False),
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("table")
    table.add_column("claims", justify="right")
    for n in COUNTS:
        for name, _, _ in settings:
            table.add_column(f"{n} seeds\n{name}", justify="right")
    shares: list[list[float]] = []
    for spec in specs:
        row = [
            alarms(spec, n, draws, draw, shared=shared)
            for n in COUNTS
            for _, draw, shared in settings
        ]
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
        if all(claim.kind == "similar" for claim in spec.claims):
            continue
        shares = [found(spec, n, gain, draws) for n in COUNTS for gain in GAINS]
        table.add_row(str(spec.number), *(f"{100 * share:.0f}" for share in shares))
    return table


if __name__ == "__main__":
    sys.exit(main())
