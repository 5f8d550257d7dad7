"""The command: plan, run what is missing, judge, render.

python -m replication.run --table 3
python -m replication.run --all --tier smoke
python -m replication.run --all --dry-run
python -m replication.run --all --dry-run --probe

Nothing heavy is imported before it is needed: --help and --list start in a blink.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from replication import arguments
from replication.errors import ReplicationError

if TYPE_CHECKING:
    from replication.spec.names import TableKey


def parser() -> argparse.ArgumentParser:
    result = arguments.Parser(
        prog="python -m replication.run",
        description="Replicate the tables of DeepLabv3 (arXiv:1706.05587).",
        epilog="Exit status: 0 done, 1 something failed or was not run, 2 wrong input, "
        "130 interrupted (run the same command again to go on).",
    )
    what = result.add_argument_group("what to run")
    what.add_argument(
        "--table", type=_table, action="append", metavar="N",
        help="a table of the paper, or a spec beside them by its name; repeatable",
    )  # fmt: skip
    what.add_argument("--all", action="store_true", help="every table of the paper, and Figure 4")
    what.add_argument(
        "--cell", action="append", metavar="tableN/ID", help="one cell of a table; repeatable"
    )
    what.add_argument("--list", action="store_true", help="list tables and cells, run nothing")
    how = result.add_argument_group("how")
    how.add_argument("--tier", default="micro", metavar="NAME", help="default: micro; or a .toml")
    how.add_argument("--seeds", type=int, metavar="K", help="seeds a cell (default: the tier's)")
    arguments.add_inputs(how)
    how.add_argument(
        "--no-cache", action="store_true",
        help="read pictures from their files; default: decode each split once, into the data cache",
    )  # fmt: skip
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    how.add_argument("--workers", type=int, metavar="N", help="steps side by side")
    how.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, metavar="S",
        help="how often a training saves its state (default: 60)",
    )  # fmt: skip
    how.add_argument("--fail-fast", action="store_true", help="start nothing after a failure")
    arguments.add_places(result)
    only = result.add_argument_group("look only")
    only.add_argument("--dry-run", action="store_true", help="show the plan, run nothing")
    only.add_argument(
        "--power", action="store_true",
        help="with --dry-run: how many seeds each claim still needs, and what they cost",
    )  # fmt: skip
    only.add_argument(
        "--deviation", type=float, metavar="POINTS",
        help="with --power: of a cell over seeds, for claims with fewer than two on record",
    )  # fmt: skip
    only.add_argument(
        "--probe", action="store_true",
        help="with --dry-run: measure here, for a moment each, what no record tells the time of",
    )  # fmt: skip
    only.add_argument(
        "--device-name", metavar="NAME",
        help="with --dry-run: forecast for a device of devices.toml, as a100",
    )  # fmt: skip
    only.add_argument(
        "--gpus", type=int, metavar="N", help="with --dry-run: mark the makespan on N GPUs"
    )
    only.add_argument("--json", action="store_true", help="with --dry-run or --list: as JSON")
    return result


def _table(text: str) -> "TableKey":
    from replication.spec.names import parse

    return parse(text)


def main(given: Sequence[str] | None = None) -> int:
    options = parser().parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    _check(options)
    if options.list:
        from replication import listing

        listing.show(options.tables, as_json=options.json)
        return arguments.EXIT_OK
    from rich.console import Console

    from replication.asked import ask

    console = Console(width=None if sys.stdout.isatty() else 120)
    asked = ask(options)
    if options.dry_run:
        from replication import preview

        preview.show(asked, console)
        return arguments.EXIT_OK
    from replication import job

    return job.run(asked, console)


def _check(options: argparse.Namespace) -> None:
    """Options that do not go together, or not with their values."""
    arguments.device_name(options.device)
    for name, least in (("workers", 1), ("seeds", 1), ("gpus", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ReplicationError(f"--{name} {value}: must be at least {least}")
    if options.json and not (options.dry_run or options.list):
        raise ReplicationError(
            "--json: goes with --dry-run or --list; results are written as JSON anyway"
        )
    if options.power and not options.dry_run:
        raise ReplicationError("--power: goes with --dry-run; it plans, and runs nothing")
    for name in ("probe", "device_name", "gpus"):
        if getattr(options, name) and (not options.dry_run or options.power):
            raise ReplicationError(
                f"--{name.replace('_', '-')}: goes with --dry-run, without --power; it is for the "
                "forecast"
            )
    if options.probe and options.device_name:
        raise ReplicationError("--probe: not with --device-name; a probe measures the device here")
    if options.gpus and options.workers:
        raise ReplicationError("--gpus: not with --workers; both are jobs side by side")
    if options.power and options.seeds is not None:
        raise ReplicationError("--seeds: not with --power, which goes by every seed on record")
    if options.deviation is not None and not options.power:
        raise ReplicationError("--deviation: goes with --dry-run --power")
    if options.deviation is not None and not 0 < options.deviation < math.inf:
        raise ReplicationError(
            f"--deviation {options.deviation:g}: must be above 0, in points of mIoU"
        )


if __name__ == "__main__":
    sys.exit(main())
