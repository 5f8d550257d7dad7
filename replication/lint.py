"""The command that lints the records of finished steps, or a plan before it is trained.

python -m replication.lint                        # every record of results/micro
python -m replication.lint --table 8 --seeds 3
python -m replication.lint --before --table 8 --tier paper --data voc=DATA/VOCdevkit
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from replication import arguments
from replication.errors import DataError, RunError, SpecError
from replication.finished import Finished
from replication.plan import Plan
from replication.planned import Planned, add_options, planned
from replication.rules.examination import Examination, Finding
from replication.rules.linter import Linter, findings
from replication.spec.names import parse

__all__ = ["Finding", "Linter", "findings", "main"]


def parser() -> argparse.ArgumentParser:
    result = arguments.Parser(
        prog="python -m replication.lint",
        description="Hold finished trainings and evaluations to what they must be.",
        epilog="Exit status: 0 no findings (warnings are none), 1 findings, 2 wrong input or "
        "nothing to check.",
    )
    what = result.add_argument_group("what to check (default: every record)")
    what.add_argument(
        "--table", type=parse, action="append", metavar="N",
        help="a table of the paper, or a spec beside them by its name; repeatable",
    )  # fmt: skip
    what.add_argument(
        "--cell", action="append", metavar="tableN/ID", help="one cell of a table; repeatable"
    )
    what.add_argument(
        "--before",
        action="store_true",
        help="check the plan, before anything is trained (default: of every table of the paper)",
    )
    what.add_argument(
        "--no-masks", action="store_true",
        help="do not read the masks of evaluated sets to count their pixels",
    )  # fmt: skip
    add_options(result)
    return result


def main(given: Sequence[str] | None = None) -> int:
    options = parser().parse_args(given)
    console = Console(width=None if sys.stdout.isatty() else 120)
    return arguments.guarded(lambda: _main(options, console))


def _main(options: argparse.Namespace, console: Console) -> int:
    where = planned(options)
    tables, cells = options.table or [], options.cell or []
    linter = Linter(
        where.store,
        sources=where.sources,
        weights={backbone: Path(file) for backbone, file in where.weights.items()},
        comparable=where.tier.comparable,
        masks=not options.no_masks,
    )
    if options.before or tables or cells:
        plan = where.plan(tables=tables, cells=cells)
        labels = dict(plan.labels)
    else:
        plan, labels = None, _labels(where)
    if options.before and plan is not None:
        examined, failed = linter.before(plan), 0
    else:
        steps, failed = _records(where, plan)
        examined = [linter.examine(step) for step in steps]
    for one in examined:
        _tell(one, labels, console)
    _close(examined, failed, "planned steps" if options.before else "records", console)
    blocking = any(not finding.warning for one in examined for finding in one.findings)
    return arguments.EXIT_FAILED if blocking else arguments.EXIT_OK


def _labels(where: Planned) -> dict[str, str]:
    """What steps are, by the plan of every table; none where it cannot be made at this tier."""
    try:
        return dict(where.plan(tables=[table.key for table in where.tables]).labels)
    except (DataError, SpecError):
        return {}


def _records(where: Planned, plan: Plan | None) -> tuple[list[str], int]:
    """The finished steps of the plan, or of the whole folder; and how many failed.

    Raises RunError where there is none.
    """
    every = sorted(path.parent.name for path in where.store.steps.glob("*/outcome.json"))
    names = [
        name
        for name in every
        if not name.endswith(".partial") and (plan is None or name in plan.steps)
    ]
    done, failed = [], 0
    for name in names:
        try:
            ended = Finished(folder=where.store.path(name)).done
        except RunError:
            ended = True  # to be told by the rules
        done += [name] * ended
        failed += not ended
    if not names:
        what = "record" if plan is None else "record of these tables and seeds"
        raise RunError(f"{where.store.steps}: no finished {what}; nothing to check")
    return done, failed


def _tell(one: Examination, labels: Mapping[str, str], console: Console) -> None:
    if one.findings:
        _say(console, f"{one.step}  {labels.get(one.step, '')}".rstrip())
    for finding in one.findings:
        _say(console, f"  {'warning: ' if finding.warning else ''}{finding}")


def _close(examined: Sequence[Examination], failed: int, what: str, console: Console) -> None:
    """What was checked, what came of it, and what could not be checked for want of what."""
    rules = {rule for one in examined for rule in one.applied}
    checks = sum(len(one.applied) for one in examined)
    found = [finding for one in examined for finding in one.findings]
    warnings = sum(finding.warning for finding in found)
    text = (
        f"{len(rules)} rules applied to {len(examined)} {what} ({checks} checks): "
        f"{_count(len(found) - warnings, 'finding')}"
    )
    if warnings:
        text += f", {_count(warnings, 'warning')}"
    if failed:
        text += f"; {_count(failed, 'failed step')} not looked at"
    _say(console, text)
    lacking = Counter((rule, lack) for one in examined for rule, lack in one.lacking.items())
    for (rule, lack), times in lacking.items():
        _say(console, f"not checked: {rule} of {times} {what}: needs {lack}")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
