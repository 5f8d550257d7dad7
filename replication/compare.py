"""The command that compares two cells: mIoU with both errors, and every class.

python -m replication.compare table3/mg121-block7 table3/mg111-block7 --seeds 3
python -m replication.compare table4/os16 table4/os8 --plot difference.png
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from replication import arguments
from replication.bootstrap import RESAMPLES
from replication.comparison import Comparison, Runs, Side, compare, to_json
from replication.errors import ReplicationError, RunError
from replication.files import write_atomically
from replication.finished import Finished
from replication.plan import available
from replication.planned import Planned, add_options, planned
from replication.spec import Cell
from replication.spec.checks import nearest
from replication.statistics import Interval, mean

# Draws that lack a class shift the interval of mIoU once there are as many as it leaves out.
MANY_LACKING = 0.05


def parser() -> argparse.ArgumentParser:
    result = arguments.Parser(
        prog="python -m replication.compare",
        description="Compare two evaluated cells on the same images, class by class.",
        epilog="Exit status: 0 compared, 2 wrong input or no such result.",
    )
    for side in ("a", "b"):
        result.add_argument(
            side, metavar=side.upper(),
            help="a cell, tableN/ID, or the folder of an evaluation's record",
        )  # fmt: skip
    add_options(result)
    result.add_argument(
        "--resamples", type=int, default=RESAMPLES, metavar="N",
        help=f"draws of the bootstrap over images (default: {RESAMPLES})",
    )  # fmt: skip
    out = result.add_argument_group("what to write")
    out.add_argument("--plot", type=Path, metavar="FILE.png", help="differences by class, drawn")
    out.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    return result


def main(given: Sequence[str] | None = None) -> int:
    options = parser().parse_args(given)
    console = Console(width=None if sys.stdout.isatty() else 120)
    return arguments.guarded(lambda: _main(options, console))


def _main(options: argparse.Namespace, console: Console) -> int:
    if options.resamples < 100:
        raise ReplicationError(f"--resamples {options.resamples}: must be at least 100")
    if options.plot is not None and options.plot.suffix != ".png":
        raise ReplicationError(f"--plot {options.plot}: must end in .png")
    where = planned(options)
    a, b = find([options.a, options.b], where)
    found = compare(a, b, resamples=options.resamples)
    show(found, console)
    if options.json is not None:
        text = json.dumps(to_json(found), indent=1, allow_nan=False)
        _say(console, f"written: {write_atomically(options.json, text + chr(10))}")
    if options.plot is not None:
        from replication.render.differences import draw  # here: matplotlib takes its time

        _say(console, f"written: {write_atomically(options.plot, draw(found))}")
    return arguments.EXIT_OK


def find(names: Sequence[str], where: Planned) -> list[Runs]:
    """The evaluations of cells `tableN/ID`, or of records given by their folders or ids.

    Raises ReplicationError with one line for each name: unknown, not measured here, or not run,
    and then with the command that runs it.
    """
    known = {cell.name: cell for table in where.tables for cell in table.cells}
    found, problems, missing = [], [], {}
    for name in names:
        try:
            if name not in known:
                found.append(_record(name, where, known))
                continue
            runs, absent = _cell(name, known[name], where)
            found.append(runs)
            if absent:
                missing[name] = absent
        except ReplicationError as problem:
            problems.append(str(problem))
    if missing:
        listed = ", ".join(f"{name} ({seeds})" for name, seeds in missing.items())
        problems.append(
            f"not evaluated in {where.store.folder}: {listed}; run: {where.command(list(missing))}"
        )
    if problems:
        raise ReplicationError("\n".join(problems))
    return found


def _cell(name: str, cell: Cell, where: Planned) -> tuple[Runs, str]:
    """The cell's records, and the seeds whose record is not there."""
    why = available(cell, where.tier)
    if cell.network is None:
        why = why or "another group's number, quoted by the paper"
    if why is not None:
        raise RunError(f"{name}: nothing to compare at the {where.tier.name} tier: {why}")
    seeds, records, absent = [], [], []
    for run in where.plan(cells=[name]).runs:
        assert run.evaluation is not None
        for step in run.steps:
            if where.store.status(step) == "failed":
                error = where.store.outcome(step.id)["error"]
                raise RunError(f"{name} seed {run.seed}: failed: {error} ({step.id})")
        if where.store.status(run.evaluation) == "done":
            seeds.append(run.seed)
            records.append(Finished(folder=where.store.path(run.evaluation.id)))
        else:
            absent.append(run.seed)
    lacking = f"seed{'s' if len(absent) > 1 else ''} {', '.join(map(str, absent))}"
    return Runs(name=name, records=tuple(records), seeds=tuple(seeds)), lacking if absent else ""


def _record(name: str, where: Planned, known: dict[str, Cell]) -> Runs:
    folder = next(
        (one for one in (Path(name), where.store.path(name)) if (one / "config.json").is_file()),
        None,
    )
    if folder is None:
        raise ReplicationError(
            f"{name}: neither a cell nor the folder of a record; {nearest(name, known)}"
        )
    record = Finished(folder=folder.resolve())
    if record.kind != "evaluate":
        raise ReplicationError(f"{name}: not an evaluation; give the folder of an evaluate-… step")
    if not record.done:
        raise ReplicationError(f"{name}: not finished")
    return Runs(name=record.id, records=(record,))


def show(found: Comparison, console: Console) -> None:
    """Print the comparison: both sides, their difference with both errors, and the classes."""
    _say(console, "")
    console.print(_sides(found), highlight=False)
    _say(console, _difference(found))
    if found.lacking > MANY_LACKING:
        _say(
            console,
            f"Too few images for mIoU's error: {100 * found.lacking:.0f} % of the draws lack a "
            "class that is on few of them, and their mIoU is a mean over fewer classes.",
        )
    _say(console, "")
    console.print(_classes(found), highlight=False)
    chance = sum(one.difference is not None for one in found.classes) * 0.05
    _say(
        console,
        "A − B in points of IoU; intervals: 95 %, over images only. Of so many intervals "
        f"{chance:.1f} would miss zero by chance alone if nothing differed.",
    )


def _sides(found: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    headings = ("mIoU", "deviation\nover seeds", "error\nfrom images", "95 %\nover images")
    for heading in headings:
        table.add_column(heading, justify="right")
    for letter, side in (("A", found.a), ("B", found.b)):
        table.add_row(
            f"{letter}  {side.name}",
            f"{mean(side.values):.2f}",
            _deviation(side),
            f"{side.images.error:.2f}",
            _interval(side.images.interval),
        )
    return table


def _deviation(side: Side) -> str:
    if side.deviation is None:
        return "single seed"
    return f"{side.deviation:.2f} ({len(side.values)} seeds)"


def _difference(found: Comparison) -> str:
    images = found.difference
    text = (
        f"A − B = {images.value:+.2f}. From the choice of images: ± {images.error:.2f}, 95 % "
        f"{_signed(images.interval)}, paired over {found.images:,} images. "
    )
    if found.seed_error is None or found.seed_interval is None:
        alone = len(found.a.values) == len(found.b.values) == 1
        why = "a single seed" if alone else "the two do not have the same seeds"
        return f"{text}From seeds: not known, {why}."
    return (
        f"{text}From seeds: ± {found.seed_error:.2f}, 95 % {_signed(found.seed_interval)}, paired "
        f"over {len(found.by_seed)} seeds. Both together: ± {found.both:.2f}."
    )


def _classes(found: Comparison) -> Table:
    several = len(found.by_seed) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("class")
    headings = ["images", "A", "B", "A − B", "95 %"] + ["deviation\nover seeds"] * several
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in found.classes:
        drawn = one.difference
        row = [one.name, f"{one.images:,}", _percent(one.a), _percent(one.b)]
        row += ["–", ""] if drawn is None else [f"{drawn.value:+.2f}", _signed(drawn.interval)]
        row += [_percent(one.deviation)] * several
        table.add_row(*row, {"above": "> 0", "below": "< 0"}.get(one.side, ""))
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(interval: Interval) -> str:
    return f"[{interval.low:.2f}, {interval.high:.2f}]"


def _signed(interval: Interval) -> str:
    return f"[{interval.low:+.2f}, {interval.high:+.2f}]"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
