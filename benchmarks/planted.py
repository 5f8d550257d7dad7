"""Plant known faults and show who catches them: the numbers, the linter, the unit tests.

    python -m benchmarks.planted [--fault NAME] [--results DIR]

Each fault of benchmarks/faults.py is written into the sources of a checkout of its own: a copy of
this one, uncommitted changes included, as one commit, so that it may plant what it likes. There
Tables 4, 5, 6 and 8 are trained and evaluated at the smoke tier, held against the references by
`replication.check`, linted by `replication.lint`, and the unit tests that are named with the fault
are run. The control, without any fault, goes first and must pass everything.

References that are missing, or of another environment, are recorded in the copy by an undisturbed
run before all that; which, is said. The column "another environment" is the same check once
more with the records relabelled as another torch's, so that bits may not be asked for.

Prints the matrix as Markdown. Exit status 0: every fault is caught by at least one; 1: one is not,
or the control does not pass; 2: wrong input, or a step that cannot be judged.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import sightings
from benchmarks.faults import FAULTS, Fault
from benchmarks.sightings import Sighting
from replication import arguments
from replication.environment import describe, numerics
from replication.errors import RunError
from replication.files import write_atomically
from replication.reference import files
from replication.reference.git import GitError, git

HERE = Path(__file__).resolve().parents[1]
TIER = "smoke"
# ASPP and cascade, every strategy of inference, and BN frozen (Table 8).
TABLES = (4, 5, 6, 8)
WHICH = [word for number in TABLES for word in ("--table", str(number))]
CONTROL = "no fault"
GIT = ("-c", "user.name=planted", "-c", "user.email=planted@localhost", "-c", "commit.gpgsign=no")


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planted",
        description=(__doc__ or "").splitlines()[0],
        epilog="Faults: " + "; ".join(f"{fault.name}: {fault.what}" for fault in FAULTS) + ".",
    )
    parser.add_argument(
        "--fault", action="append", choices=[fault.name for fault in FAULTS], metavar="NAME",
        help="only this one, after the control; repeatable (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="keep checkouts, records and logs here"
    )
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    wanted = [fault for fault in FAULTS if not options.fault or fault.name in options.fault]
    for fault in wanted:  # before anything is trained
        fault.planted((HERE / fault.file).read_text(encoding="utf-8"))
    with ExitStack() as stack:
        if options.results is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="planted-")))
        else:
            work = options.results.resolve()
            if work.exists() and any(work.iterdir()):
                raise RunError(f"--results {options.results}: not empty; give a new folder")
        base = work / "checkout"
        copy_checkout(base)
        record_missing(base, work / "recorded")
        every = tuple(dict.fromkeys(test for fault in wanted for test in fault.tests))
        control = trial(base, work / "control", None, every)
        if control.caught:
            print(f"\n{sightings.matrix([control])}\n")
            print("the control does not pass: nothing can be learnt of faults before it does")
            return arguments.EXIT_FAILED
        seen = [trial(base, work / fault.name, fault, fault.tests) for fault in wanted]
    print(f"\n{sightings.matrix([control, *seen])}\n")
    text, status = sightings.closing(seen)
    print(text)
    return status


def copy_checkout(to: Path) -> None:
    """This checkout as it is on disk, without what git ignores, as one commit of a new one."""
    try:
        names = git(HERE, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        at = git(HERE, "rev-parse", "--short=12", "HEAD")
        changed = git(HERE, "status", "--porcelain")
    except GitError as problem:
        raise RunError(f"{HERE}: needs a git checkout ({problem})") from None
    for name in filter(None, names.split("\0")):
        if (HERE / name).is_file():  # else deleted and not yet committed
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / name, to / name)
    git(to, "init", "--quiet", "--template=")
    commit(to, "The sources under test")
    print(f"sources: commit {at}{' with uncommitted changes' if changed else ''}", flush=True)


def commit(checkout: Path, message: str) -> None:
    git(checkout, "add", "--all")
    git(checkout, *GIT, "commit", "--quiet", "--no-verify", "--message", message)


def record_missing(base: Path, folder: Path) -> None:
    """Record references in the base checkout where there is none that holds here to the bit."""
    here = _environment(describe("cpu"))
    lacking = []
    for number in TABLES:
        path = files.path_of(base / "references", TIER, number)
        if not path.exists() or any(
            _environment(one) != here for one in files.read(path).environments
        ):
            lacking.append(str(number))
    if not lacking:
        return
    print(
        f"references of Table {', '.join(lacking)} are missing, or of another environment: "
        "recorded from the sources as they are",
        flush=True,
    )
    run(base, folder)
    said = ["--update", "--tier", TIER, "--results", str(folder / "results"), "--table", *lacking]
    # Status 1 is "references changed: commit them".
    call(base, folder, "update", "replication.check", *said, allowed=(0, 1))
    commit(base, "References")


def _environment(described: Mapping[str, Any]) -> dict[str, Any]:
    return {**numerics(described), "threads": "the tier's"}


def trial(base: Path, folder: Path, fault: Fault | None, tests: Sequence[str]) -> Sighting:
    """One fault, or none, in a copy of the base checkout: planted, run, and looked at."""
    started = time.monotonic()
    name = fault.name if fault else CONTROL
    checkout, results = folder / "checkout", folder / "results"
    shutil.copytree(base, checkout, ignore=shutil.ignore_patterns("__pycache__"))
    if fault:
        source = checkout / fault.file
        text = fault.planted(source.read_text(encoding="utf-8"))
        source.write_text(text, encoding="utf-8")
        commit(checkout, fault.name)
    run(checkout, folder)
    here = check(checkout, folder, "check")
    said = call(
        checkout, folder, "lint", "replication.lint", "--tier", TIER, "--results", str(results),
        allowed=(0, 1),
    )  # fmt: skip
    rules = sightings.rules(said)
    file = folder / "tests.xml"
    call(
        checkout, folder, "tests", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
        f"--junitxml={file}", *tests, allowed=(0, 1),
    )  # fmt: skip
    for path in (results / TIER / "steps").glob("*/environment.json"):
        environment = {**json.loads(path.read_text()), "torch": "another"}
        write_atomically(path, json.dumps(environment).encode())
    found = Sighting(
        name=name,
        what=fault.what if fault else "the sources as they are",
        numbers=here,
        elsewhere=check(checkout, folder, "elsewhere"),
        rules=rules,
        tests=sightings.unit_tests(file),
    )
    seconds = time.monotonic() - started
    print(f"{name}: {'seen' if found.caught else 'not seen'} ({seconds:.0f} s)", flush=True)
    return found


def run(checkout: Path, folder: Path) -> None:
    """Train and evaluate the tables into folder/results."""
    call(
        checkout, folder, "run", "replication.run", *WHICH, "--tier", TIER, "--device", "cpu",
        "--results", str(folder / "results"),
    )  # fmt: skip


def check(checkout: Path, folder: Path, name: str) -> sightings.Numbers:
    file = folder / f"{name}.xml"
    call(
        checkout, folder, name, "replication.check", "--tier", TIER, "--junit", str(file),
        "--results", str(folder / "results"), "--table", *map(str, TABLES), allowed=(0, 1, 2),
    )  # fmt: skip
    return sightings.numbers(file)


def call(
    checkout: Path, folder: Path, name: str, module: str, *words: str, allowed: Sequence[int] = (0,)
) -> str:
    """What `python -m MODULE WORDS` of the checkout says, kept in folder/NAME.txt.

    Raises RunError for an exit status that is not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"REPLICATION_DATA": str(folder / "data")}
    # A server's summary is of its own job.
    environment.pop("GITHUB_STEP_SUMMARY", None)
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=checkout, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    (folder / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
    if done.returncode not in allowed:
        last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
        raise RunError(
            f"{folder.name}: {module} ended with status {done.returncode}: {last} "
            "(--results DIR keeps the logs)"
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
