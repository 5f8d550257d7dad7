"""The command for CI: what is on record against references, recorded runs of the same cells.

python -m replication.run --table 4 --tier smoke
python -m replication.check --table 4 --tier smoke

It reads records and runs nothing. `--update` writes the references from what is on record.
"""

import argparse
import datetime
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from replication import arguments
from replication.errors import ReplicationError, RunError
from replication.files import write_atomically
from replication.plan import Plan
from replication.planned import Planned, planned
from replication.reference import against, files, findings, regression
from replication.reference.against import Check, Command
from replication.reference.files import Reference
from replication.reference.findings import Finding
from replication.reference.git import GitError, committed, git, uncommitted
from replication.spec.checks import display
from replication.spec.names import listed, parse

COMMIT = "references changed: commit them"


def parser() -> argparse.ArgumentParser:
    result = arguments.Parser(
        prog="python -m replication.check",
        description="Hold measured results against recorded references; runs nothing.",
        epilog="Exit status: 0 all the same or no worse; 1 a regression, or references were "
        "rewritten; 2 something could not be checked: a result or reference is missing, damaged, "
        "not committed or of another configuration, or the seeds cannot tell. 1 goes before 2.",
    )
    what = result.add_argument_group("what to check (default: every reference)")
    what.add_argument(
        "--table", type=_number, nargs="+", action="extend", metavar="N",
        help="only these tables of the paper",
    )  # fmt: skip
    what.add_argument("--tier", metavar="NAME", help="only this tier; or a .toml")
    what.add_argument("--seeds", type=int, metavar="K", help="default: those of the reference")
    how = result.add_argument_group("how")
    how.add_argument(
        "--margin", type=float, default=regression.MARGIN, metavar="POINTS",
        help="mIoU that another environment or VERSION may lose (default: %(default)s)",
    )  # fmt: skip
    how.add_argument(
        "--alpha", type=float, default=regression.ALPHA, metavar="A",
        help="error of the one-sided tests against the margin (default: %(default)s)",
    )  # fmt: skip
    how.add_argument("--update", action="store_true", help="record the references afresh")
    out = result.add_argument_group("reports")
    out.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    out.add_argument(
        "--summary", type=Path, metavar="FILE",
        help="append Markdown (default: $GITHUB_STEP_SUMMARY, if set)",
    )  # fmt: skip
    arguments.add_inputs(result.add_argument_group("of the runs that are checked"))
    arguments.add_places(result)
    result.add_argument(
        "--references", type=Path, default=arguments.HOME / "references", metavar="DIR"
    )
    return result


def _number(text: str) -> int:
    key = parse(text)
    if isinstance(key, str):
        raise argparse.ArgumentTypeError(f"{text!r}: references are of the paper's tables, 1 to 13")
    return key


def main(given: Sequence[str] | None = None) -> int:
    options = parser().parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    _refuse_mistakes(options)
    if options.update:
        return _update(options)
    found: list[Finding] = []
    paths, lacking = _files(options)
    for path in paths:
        found += _check(path, options)
    for number in lacking:
        text = f"no tier has a reference of table {number} here"
        found.append(_unchecked(display(options.references), text))
    if not found:
        of = f" of tier {_stem(options.tier)}" if options.tier is not None else ""
        found.append(_unchecked(display(options.references), f"there are no references{of} here"))
    print("\n".join(findings.plain(found)))
    status = findings.exit_status(found)
    try:
        _report(found, options)
    except (OSError, RunError) as problem:
        # A regression stays one where its report cannot be written.
        status = status or arguments.EXIT_USAGE
        print(f"error: the report is not written: {problem}", file=sys.stderr)
    print(f"{findings.closing(found)}; exit status {status}")
    return status


def _refuse_mistakes(options: argparse.Namespace) -> None:
    problems = []
    if not (math.isfinite(options.margin) and options.margin >= 0):
        problems.append(f"--margin {options.margin:g}: must be points of mIoU, 0 or more")
    if not 0 < options.alpha < 0.5:
        problems.append(f"--alpha {options.alpha:g}: must lie between 0 and 0.5")
    if options.seeds is not None and options.seeds < 1:
        problems.append(f"--seeds {options.seeds}: must be at least 1")
    if options.update and options.tier is None:
        problems.append("--update: give --tier NAME, and --table N for a table without a reference")
    if problems:
        raise ReplicationError("\n".join(problems))


def _report(found: Sequence[Finding], options: argparse.Namespace) -> None:
    if options.junit is not None:
        write_atomically(options.junit, findings.junit(found))
    summary = options.summary or os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(findings.markdown(found))


def _files(options: argparse.Namespace) -> tuple[list[Path], list[int]]:
    """The files to check: those there are, are in git, or are expected by --table and --tier; and
    the tables asked for that no tier has one of.
    """
    folder, wanted = options.references, options.table
    tier = None if options.tier is None else _stem(options.tier)
    chosen, tables = [], set()
    for path in sorted({*folder.glob("*.json"), *_in_git(folder)}):
        name = files.NAME.fullmatch(path.name)
        # A file of another name is looked at, and refused, unless the choice is by name.
        if name is None and tier is None and wanted is None:
            chosen.append(path)
        if name is None or (tier is not None and name["tier"] != tier):
            continue
        if wanted is None or int(name["table"]) in wanted:
            chosen.append(path)
            tables.add(int(name["table"]))
    missing = [number for number in dict.fromkeys(wanted or ()) if number not in tables]
    if tier is None:
        return chosen, missing
    return chosen + [files.path_of(folder, tier, number) for number in missing], []


def _in_git(folder: Path) -> list[Path]:
    """The references that git has in this folder: one that was deleted is missing, not gone."""
    try:
        return [folder / name for name in git(folder, "ls-files", "--", "*.json").splitlines()]
    except GitError:
        return []


def _plan(
    options: argparse.Namespace, tier: str, number: int, reference: Reference | None
) -> tuple[Planned, Plan]:
    """A table's plan at a tier under the seeds asked for, else the reference's, else the tier's.

    Raises ReplicationError, among others for a table that is not there.
    """
    if options.tier is not None and _stem(options.tier) == tier:
        tier = options.tier  # a file, perhaps
    where = planned(argparse.Namespace(**vars(options) | {"tier": tier}))
    known = [table.key for table in where.tables if table.number is not None]
    if number not in known:
        raise ReplicationError(f"table {number}: no such table; there are {listed(known)}")
    if options.seeds is None and reference is not None:
        where = replace(where, seeds=tuple(reference.seeds))
    return where, where.plan(tables=[number])


def _command(where: Planned) -> Command:
    """What runs a cell; one that is on record runs again in a folder of its own."""

    def command(cell: str, seed: int, afresh: bool) -> str:
        results = where.options.results / "again" if afresh else where.options.results
        seeds = max(1, seed - where.tier.first_seed + 1)
        given = vars(where.options) | {"results": results, "seeds": seeds}
        return replace(where, options=argparse.Namespace(**given)).command([cell])

    return command


def _stem(tier: str) -> str:
    return Path(tier).stem if tier.endswith(".toml") else tier


def _unchecked(reference: str, text: str) -> Finding:
    return Finding(status="not checked", reference=reference, text=f"could not check: {text}")


def _check(path: Path, options: argparse.Namespace) -> list[Finding]:
    """Everything found on one reference; what keeps it from being checked is a finding too."""
    try:
        reference = files.read(path)
        print(
            f"{display(path)}: {len(reference.cells)} cells, seeds "
            f"{', '.join(map(str, reference.seeds))}, recorded {reference.date} at commit "
            f"{reference.commit[:12]}"
        )
        try:
            if not committed(path):
                return [_unchecked(path.name, f"{COMMIT} ({display(path)})")]
        except GitError as problem:
            print(f"{display(path)}: cannot tell whether it is committed ({problem})")
        where, plan = _plan(options, reference.tier, reference.table, reference)
        check = Check(
            reference=reference,
            name=path.name,
            plan=plan,
            store=where.store,
            seeds_given=options.seeds is not None,
            margin=options.margin,
            alpha=options.alpha,
            command=_command(where),
        )
        return list(against.findings(check))
    except ReplicationError as problem:
        return [_unchecked(path.name, line) for line in str(problem).splitlines()]


def _update(options: argparse.Namespace) -> int:
    """Record references from a clean checkout; all of those asked for, or none."""
    commit = _clean_commit()
    written, problems = {}, []
    paths = _files(options)[0]
    if not paths:
        raise ReplicationError(
            f"--update: no reference of {_stem(options.tier)} yet; give --table N for a new one"
        )
    for path in paths:
        name = files.NAME.fullmatch(path.name)
        assert name is not None
        before = None
        try:
            before = files.read(path) if path.exists() else None
        except RunError as problem:
            print(f"{problem}: recorded afresh")
        try:
            where, plan = _plan(options, name["tier"], int(name["table"]), before)
            date = datetime.datetime.now(datetime.UTC).date().isoformat()
            now = files.record(plan, where.store, date=date, commit=commit)
        except ReplicationError as problem:
            problems += str(problem).splitlines()
            continue
        if changes := files.changes(before, now):
            written[path] = now
            print("\n".join(f"{display(path)}: {line}" for line in changes))
        else:
            print(f"{display(path)}: unchanged")
    if problems:
        raise ReplicationError("\n".join([*problems, "no reference was written"]))
    if not written:
        return findings.EXIT_FINE
    for path, now in written.items():
        files.write(path, now)
    print(f"{COMMIT}: {' '.join(display(path) for path in written)}")
    return findings.EXIT_REGRESSION


def _clean_commit() -> str:
    """This checkout's commit. Raises RunError where there is none, or files differ from it."""
    try:
        changed = uncommitted(arguments.HOME)
        commit = git(arguments.HOME, "rev-parse", "HEAD")
    except GitError as problem:
        raise RunError(
            f"--update: references are recorded from a clean git checkout only ({problem})"
        ) from None
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise RunError(
            "--update: references are recorded from a clean git checkout only; commit or remove "
            f"{', '.join(changed[:3])}{more}"
        )
    return commit


if __name__ == "__main__":
    sys.exit(main())
