"""Every speed that is claimed, measured beside something that we did not write.

    python -m benchmarks.speed --data voc=DATA/VOCdevkit
    python -m benchmarks.speed --only step,sweep --json speed.json --write speed.md

Medians of alternating repetitions in one run, and the range of their ratios. Two cores:
an hour and more for all of it. Nothing else should be running. The files are written anew after
each comparison: one that fails loses no other.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.given import at_least_one, only, writable
from benchmarks.machine import here, where
from benchmarks.speed import compiled, pictures, pieces, plan, startup, step, sweep, workers
from benchmarks.speed.alternating import Comparison, as_markdown, show
from replication import arguments
from replication.errors import ReplicationError
from replication.files import write_atomically

# What each part is about, as headings; in this order.
PARTS = {
    "startup": "Start-up",
    "sweep": "Evaluation",
    "pieces": "Parts of an iteration",
    "compiled": "Compilation",
    "step": "Training steps",
    "plan": "Plans",
    "workers": "Workers",
    "input": "Input",
}

Part = Callable[[int], Iterator[Comparison]]


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.speed", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", default="", help=f"of {','.join(PARTS)}")
    parser.add_argument(
        "--data", action="append", default=[], metavar="voc=PATH",
        help="photographs, for the part `input` (default: generated pictures)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", default="", metavar="TEXT",
        help='of the part `step` only what has this in its name, "513 px" for one',
    )  # fmt: skip
    parser.add_argument("--repetitions", type=int, default=5, help="of each (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="the same as a page")
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    at_least_one(repetitions=options.repetitions)
    chosen = [name for name in options.only.split(",") if name] or list(PARTS)
    for name in chosen:
        if name not in PARTS:
            raise ReplicationError(f"--only {name}: must be of {', '.join(PARTS)}")
    for file in (options.json, options.write):
        writable(file)
    console = Console(width=150, highlight=False)
    parts = _parts(options, chosen)
    console.print(where())
    done: dict[str, list[Comparison]] = {}

    def keep() -> None:
        if options.json:
            every = [{"part": name, **one.as_json()} for name in done for one in done[name]]
            content = {**here(), "repetitions": options.repetitions, "comparisons": every}
            write_atomically(options.json, json.dumps(content, indent=1) + "\n")
        if options.write:
            write_atomically(options.write, page(done, options.repetitions))

    for name, compare in parts.items():
        for one in compare(options.repetitions):
            done.setdefault(name, []).append(one)
            console.print(f"{one.what}: {one.speedup:.2f}")
            keep()
    show([one for name in done for one in done[name]], console)
    return arguments.EXIT_OK


def _parts(options: argparse.Namespace, chosen: Sequence[str]) -> dict[str, Part]:
    """The parts to be measured; their data are read here, before anything is timed."""
    parts: dict[str, Part] = {
        "startup": startup.compare,
        "sweep": sweep.compare,
        "pieces": pieces.compare,
        "compiled": compiled.compare,
        "step": partial(step.compare, named=options.steps),
        "plan": plan.compare,
        "workers": workers.compare,
    }
    voc = only("voc", arguments.pairs(options.data, "--data", "voc=PATH"), "--data")
    if "input" in chosen:
        pictures.given(voc)
        parts["input"] = partial(pictures.compare, voc=voc)
    return {name: parts[name] for name in chosen}


def page(done: dict[str, list[Comparison]], repetitions: int) -> str:
    """A Markdown page: a heading a part, a table a comparison."""
    told = (
        "`python -m benchmarks.speed --write FILE.md` measures this page: medians of "
        f"{repetitions} repetitions in turn, on {where()}. A speed-up is their time over ours "
        "within each repetition: above 1 ours is faster."
    )
    lines = ["# How fast it is", "", textwrap.fill(told, 100), ""]
    for name, comparisons in done.items():
        lines += [f"## {PARTS[name]}", "", *as_markdown(comparisons)]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
