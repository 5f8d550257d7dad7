"""What check, linter and unit tests said of one planted fault, read from what they wrote."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from replication.errors import RunError

UNSEEN = "–"
STEP = re.compile(r"(pretrain|train|evaluate)-[0-9a-f]{16}\b")
# Names that a cell of the matrix has room for.
NAMED = 2


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What `replication.check` said of the cells."""

    cells: int
    # "tableN/ID" of those that are worse or changed, and how many of them by a logged loss.
    changed: tuple[str, ...]
    by_losses: int

    def __str__(self) -> str:
        if not self.changed:
            return UNSEEN
        alone = len(self.changed) - self.by_losses
        how = {"by losses": self.by_losses, "by mIoU alone": alone}
        told = [
            words if n == len(self.changed) else f"{n} {words}" for words, n in how.items() if n
        ]
        text = f"{len(self.changed)} of {self.cells} cells, {', '.join(told)}"
        if len(self.changed) <= NAMED:
            text += f": {', '.join(self.changed)}"
        return text


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What `replication.lint` said of the records: rules that fired, and in how many records."""

    records: dict[str, int]

    def __str__(self) -> str:
        told = (f"{rule} ({n} record{'s' * (n > 1)})" for rule, n in self.records.items())
        return ", ".join(told) or UNSEEN


@dataclass(frozen=True, kw_only=True)
class UnitTests:
    """The names of the unit tests that failed, once for each set of parameters."""

    failed: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(f"`{name}`" for name in dict.fromkeys(self.failed)) or UNSEEN


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One row of the matrix. `elsewhere` are the numbers as if made in another environment."""

    name: str
    what: str
    numbers: Numbers
    elsewhere: Numbers
    rules: Rules
    tests: UnitTests

    @property
    def caught(self) -> bool:
        """By the numbers of the same environment, the linter or a unit test."""
        return bool(self.numbers.changed or self.rules.records or self.tests.failed)


def numbers(junit: Path) -> Numbers:
    """From `replication.check --junit`. Raises RunError for a cell that could not be checked."""
    cases = list(ET.parse(junit).getroot().iter("testcase"))
    changed, by_losses = [], 0
    for case in cases:
        name = case.attrib["name"].split(" seed ")[0]
        if (error := case.find("error")) is not None:
            raise RunError(f"replication.check: {error.attrib['message']}")
        if (failure := case.find("failure")) is not None:
            changed.append(name)
            by_losses += "; logged loss " in failure.attrib["message"]
    if not cases:
        raise RunError(f"{junit}: replication.check compared nothing")
    return Numbers(cells=len(cases), changed=tuple(changed), by_losses=by_losses)


def rules(said: str) -> Rules:
    """From what `replication.lint` prints: a step, then an indented line a finding."""
    records: dict[str, set[str]] = {}
    step = ""
    for line in said.splitlines():
        if STEP.match(line):
            step = line.split()[0]
        elif step and line.startswith("  ") and not line.startswith("  warning: "):
            records.setdefault(line.strip().split(":")[0], set()).add(step)
    return Rules(records={rule: len(steps) for rule, steps in records.items()})


def unit_tests(junit: Path) -> UnitTests:
    """From `pytest --junitxml`. Raises RunError where a test could not be run."""
    cases = list(ET.parse(junit).getroot().iter("testcase"))
    failed = []
    for case in cases:
        name = case.attrib["name"].split("[")[0]
        for lack in ("error", "skipped"):
            if (why := case.find(lack)) is not None:
                raise RunError(f"{name}: {lack} ({why.attrib.get('message', '')})")
        if case.find("failure") is not None:
            failed.append(name)
    if not cases:
        raise RunError(f"{junit}: no test was run")
    return UnitTests(failed=tuple(failed))


HEADINGS = (
    "planted", "numbers, same environment", "numbers, another environment", "linter", "unit tests"
)  # fmt: skip


def matrix(seen: Sequence[Sighting]) -> str:
    """A Markdown table, a row each."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{':--|' * len(HEADINGS)}"]
    for one in seen:
        cells = (f"**{one.name}**: {one.what}", one.numbers, one.elsewhere, one.rules, one.tests)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def closing(seen: Sequence[Sighting]) -> tuple[str, int]:
    """The last line and the exit status: 1 where a fault was caught by nothing."""
    missed = [one.name for one in seen if not one.caught]
    if missed:
        return f"caught by nothing: {', '.join(missed)}", 1
    faults = f"all {len(seen)} faults are" if len(seen) > 1 else "the fault is"
    return f"{faults} caught by at least one of numbers, linter and unit tests", 0
