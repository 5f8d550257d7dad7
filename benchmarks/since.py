"""How much quicker than an earlier commit all tables are: `python -m benchmarks.since COMMIT`.

    python -m benchmarks.since 8c5ed4b                              # by forecasts, in turn
    python -m benchmarks.since 8c5ed4b --whole --tier micro-quick   # run, one after the other

A forecast is each code's own, by probes that are made anew each time: a minute or two for all of
micro's tables. The earlier code is this repository's at that commit, beside today's packages; each
code draws its data anew. What they measure need not be the same work: tiers change too. Whether
the mIoU fell, `python -m benchmarks.tables` says of the results that --whole leaves.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.commands import python
from benchmarks.given import at_least_one
from benchmarks.machine import where
from benchmarks.speed.alternating import Comparison, seconds, show
from replication import arguments
from replication.arguments import HOME
from replication.errors import ReplicationError
from replication.files import write_atomically
from replication.reference.git import GitError, git


@dataclass(frozen=True, kw_only=True)
class Code:
    """One commit's files, and what its command is asked for."""

    home: Path
    words: tuple[str, ...]

    def forecast(self) -> tuple[float, float]:
        """Seconds of all jobs, and from the first one's start to the last one's end."""
        with tempfile.TemporaryDirectory() as empty:
            asked = ("--results", empty, "--dry-run", "--probe", "--json")
            found = json.loads(self._run(*asked, data=Path(empty)))["forecast"]
        [makespan] = [one["seconds"] for one in found["makespans"] if one["chosen"]]
        return 3600 * found["device_hours"], makespan

    def run(self, results: Path) -> None:
        """Everything, into an empty folder; what it says goes into a file beside that."""
        with tempfile.TemporaryDirectory() as empty:
            said = self._run("--results", str(results), data=Path(empty))
        write_atomically(results.with_suffix(".txt"), said)

    def _run(self, *more: str, data: Path) -> str:
        return python("-m", "replication.run", *self.words, *more, home=self.home, data=data)


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.since", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("commit", metavar="COMMIT", help="the earlier one")
    parser.add_argument("--tier", default="micro", metavar="NAME", help="of today's code (micro)")
    parser.add_argument(
        "--their-tier", default="micro", metavar="NAME", help="of the earlier code (micro)"
    )
    parser.add_argument(
        "--table", type=int, action="append", default=[], metavar="N", help="default: all"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="side by side (2)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each forecast (5)")
    parser.add_argument("--whole", action="store_true", help="run them, once each")
    parser.add_argument(
        "--out", type=Path, default=Path("results/since"), help="for --whole (results/since)"
    )
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    at_least_one(workers=options.workers, repetitions=options.repetitions)
    out = options.out.absolute()
    if options.whole and out.exists() and any(out.iterdir()):
        raise ReplicationError(
            f"{out}: is not empty, and a run that goes on is no measure; give another --out"
        )
    console = Console(width=150, highlight=False)
    tables = [word for table in options.table for word in ("--table", str(table))] or ["--all"]
    with tempfile.TemporaryDirectory() as scratch:
        earlier = checkout(options.commit, Path(scratch) / "earlier")
        ours, theirs = (
            Code(
                home=home,
                words=(*tables, "--tier", _tier(tier), "--workers", str(options.workers)),
            )
            for home, tier in ((HOME, options.tier), (earlier, options.their_tier))
        )
        what = f"{' '.join(tables)}, {options.tier}"
        beside = f"{options.commit}, {options.their_tier}"
        console.print(where())
        if options.whole:
            found = [whole(ours, theirs, out, what, beside, console)]
        else:
            found = forecast(ours, theirs, options.repetitions, what, beside)
        show(found, console)
    if options.whole:
        tiers = (("theirs", options.their_tier), ("ours", options.tier))
        folders = [out / whose / Path(tier).stem for whose, tier in tiers]
        console.print(f"python -m benchmarks.tables {' '.join(map(str, folders))}", soft_wrap=True)
    return arguments.EXIT_OK


def _tier(given: str) -> str:
    """A file is found from either checkout."""
    return str(Path(given).absolute()) if Path(given).is_file() else given


def checkout(commit: str, folder: Path) -> Path:
    """That commit's files in a new folder. Raises ReplicationError if it is not at hand."""
    try:
        full = git(HOME, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except GitError:
        raise ReplicationError(
            f"{commit}: no commit of this repository; a shallow clone lacks the earlier ones"
        ) from None
    try:
        git(HOME, "clone", "--quiet", "--shared", "--no-checkout", str(HOME), str(folder))
        git(folder, "checkout", "--quiet", "--detach", full)
    except GitError as error:
        raise ReplicationError(f"{commit}: {error}") from None
    return folder


def forecast(
    ours: Code, theirs: Code, repetitions: int, what: str, beside: str
) -> list[Comparison]:
    """The seconds of all jobs, and until the last one's end, by both codes' probes in turn."""
    of_ours: list[tuple[float, float]] = []
    of_theirs: list[tuple[float, float]] = []
    for repetition in range(repetitions):
        turns = [(ours, of_ours), (theirs, of_theirs)]
        for code, found in turns if repetition % 2 == 0 else reversed(turns):
            found.append(code.forecast())
    return [
        Comparison(
            what=f"{what}: {quantity}, by forecast",
            theirs_is=beside,
            ours=tuple(one[index] for one in of_ours),
            theirs=tuple(one[index] for one in of_theirs),
        )
        for index, quantity in enumerate(("seconds of a worker", "seconds in all"))
    ]


def whole(
    ours: Code, theirs: Code, out: Path, what: str, beside: str, console: Console
) -> Comparison:
    """Wall-clock from the command to its end, data included: theirs, and then ours.

    Each is told as it ends: the other may fail hours later.
    """
    out.mkdir(parents=True, exist_ok=True)
    taken = []
    for whose, code in (("theirs", theirs), ("ours", ours)):
        taken.append(seconds(partial(code.run, out / whose)))
        console.print(f"{whose}: {taken[-1]:,.0f} s")
    of_theirs, of_ours = taken
    return Comparison(
        what=f"{what}: seconds in all", theirs_is=beside, ours=(of_ours,), theirs=(of_theirs,)
    )


if __name__ == "__main__":
    sys.exit(main())
