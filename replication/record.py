"""The command that enters a test server's score for a trained cell, marked as entered by hand.

python -m replication.record --table 7 --cell deeplabv3 --miou 85.1 --evidence URL
"""

import argparse
import datetime
import math
import sys
from collections.abc import Sequence

from replication import arguments
from replication.environment import commit
from replication.errors import ReplicationError, RunError
from replication.plan import available
from replication.spec.names import parse
from replication.submission import recorded
from replication.submission.chain import asked, trained


def parser() -> argparse.ArgumentParser:
    result = arguments.Parser(
        prog="python -m replication.record",
        description="Enter the score that a test server returned for a trained cell.",
        epilog="Exit status: 0 entered, 2 wrong input. The next replication.run shows the score.",
    )
    result.add_argument("--table", type=parse, required=True, metavar="N", help="7 or 13")
    result.add_argument("--cell", metavar="ID", help="default: the one that a server scores")
    result.add_argument("--miou", type=float, required=True, metavar="PERCENT", help="0 to 100")
    result.add_argument(
        "--evidence", required=True, metavar="TEXT", help="the server's URL for it, or a sentence"
    )
    result.add_argument("--date", metavar="YYYY-MM-DD", help="of the score; default: today")
    result.add_argument("--tier", default="paper", metavar="NAME", help="default: paper")
    result.add_argument("--seed", type=int, metavar="S", help="default: the tier's first")
    result.add_argument("--replace", action="store_true", help="put it in an earlier one's place")
    which = result.add_argument_group("which training, where several differ only in these")
    arguments.add_inputs(which)
    arguments.add_places(result)
    return result


def main(given: Sequence[str] | None = None) -> int:
    options = parser().parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    evidence, date = _checked(options)
    wanted = asked(options)
    if available(wanted.cell, wanted.tier) is None:
        raise RunError(
            f"{wanted.name} is measured here at the {wanted.tier.name} tier: a measured cell "
            "cannot be overwritten by hand"
        )
    _, step = trained(wanted, options)
    assert wanted.cell.evaluation is not None
    score = recorded.Score(
        table=wanted.cell.table,
        cell=wanted.cell.id,
        seed=wanted.seed,
        training=step,
        evaluation=wanted.cell.evaluation.config(),
        miou=options.miou,
        evidence=evidence,
        date=date,
        commit=commit()["commit"],
    )
    before = recorded.enter(wanted.store.folder, score, replace=options.replace)
    instead = f" in place of {before.miou:g}" if before else ""
    print(
        f"{wanted.name} seed {wanted.seed}: {score.miou:g}{instead}, entered by hand "
        f"({score.evidence}, {score.date}) for {step}, in {wanted.store.folder / recorded.NAME}"
    )
    print(f"the next `python -m replication.run --table {options.table}` shows it")
    return arguments.EXIT_OK


def _checked(options: argparse.Namespace) -> tuple[str, str]:
    """Evidence on one line, and the date. Raises ReplicationError with a line for each mistake."""
    problems = []
    if not (math.isfinite(options.miou) and 0 <= options.miou <= 100):
        problems.append(f"--miou {options.miou:g}: must be a percentage, 0 to 100")
    evidence = " ".join(options.evidence.split())
    if not evidence:
        problems.append("--evidence: empty; give the server's URL for the score, or a sentence")
    today = datetime.date.today()
    date = today
    if options.date is not None:
        try:
            date = datetime.date.fromisoformat(options.date)
        except ValueError:
            problems.append(f"--date {options.date}: must be YYYY-MM-DD")
        if date > today:
            problems.append(f"--date {options.date}: lies in the future")
    if problems:
        raise ReplicationError("\n".join(problems))
    return evidence, date.isoformat()


if __name__ == "__main__":
    sys.exit(main())
