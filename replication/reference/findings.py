"""What a check found, for people, for CI servers (JUnit XML) and for GitHub's step summary."""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["same", "no worse", "regression", "not checked"]

# Passed statuses first, each with the words of the closing line.
WORDS: dict[Status, str] = {
    "same": "the same to the bit",
    "no worse": "no worse",
    "regression": "worse or changed",
    "not checked": "not checked",
}
PASSED: tuple[Status, ...] = ("same", "no worse")
EXIT_FINE, EXIT_REGRESSION, EXIT_NOT_CHECKED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Finding:
    """On one cell under some seeds, or on what kept a whole reference from being checked."""

    status: Status
    # The reference's file name.
    reference: str
    # "tableN/cell"; empty for a whole reference.
    cell: str = ""
    seeds: tuple[int, ...] = ()
    # One line with both numbers, or why there are none.
    text: str
    # What runs the cell again; empty where running does not help.
    command: str = ""

    @property
    def what(self) -> str:
        if not self.cell:
            return self.reference
        if not self.seeds:
            return self.cell
        listed = ", ".join(map(str, self.seeds))
        return f"{self.cell} seed{'s' if len(self.seeds) > 1 else ''} {listed}"

    @property
    def cases(self) -> int:
        """How many checks it stands for: one for each seed."""
        return max(1, len(self.seeds))


def exit_status(findings: Sequence[Finding]) -> int:
    """1 for any regression, else 2 for anything that was not checked; nothing at all is 2."""
    found = {finding.status for finding in findings}
    if "regression" in found:
        return EXIT_REGRESSION
    return EXIT_FINE if found and found <= set(PASSED) else EXIT_NOT_CHECKED


def closing(findings: Sequence[Finding]) -> str:
    """One line: how many cells and seeds came out how."""
    count: Counter[Status] = Counter()
    for finding in findings:
        count[finding.status] += finding.cases
    parts = [f"{count[status]} {words}" for status, words in WORDS.items() if count[status]]
    return f"{sum(count.values())} to check: {', '.join(parts) or 'none'}"


def plain(findings: Sequence[Finding]) -> list[str]:
    """A line a finding, and one with its command."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<12}{finding.what}: {finding.text}")
        if finding.command:
            lines.append(f"{'':<12}{finding.command}")
    return lines


def junit(findings: Sequence[Finding]) -> bytes:
    """A test suite a reference, a test case a cell and seed; what was not checked is an error.

    Names do not depend on how a cell was compared, so that a server can follow them over time.
    """
    root = ET.Element("testsuites", name="replication.check")
    for reference in dict.fromkeys(finding.reference for finding in findings):
        suite = ET.SubElement(root, "testsuite", name=reference)
        for finding in findings:
            if finding.reference == reference:
                _cases(suite, finding)
        _count(suite)
    _count(root)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _cases(suite: ET.Element, finding: Finding) -> None:
    text = _printable(f"{finding.what}: {finding.text}")
    # Seeds in numerical order of their own; a cell without seeds is one case.
    for seed in finding.seeds or (None,):
        name = (finding.cell or "reference") + ("" if seed is None else f" seed {seed}")
        case = ET.SubElement(
            suite, "testcase", classname=f"replication.check.{finding.reference}", name=name
        )
        if finding.status in PASSED:
            ET.SubElement(case, "system-out").text = text
        else:
            tag = "failure" if finding.status == "regression" else "error"
            fault = ET.SubElement(case, tag, message=text, type=finding.status)
            fault.text = _printable(f"{text}\n{finding.command}".rstrip())


def _count(element: ET.Element) -> None:
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        element.set(name, str(len(list(element.iter(tag)))))


def _printable(text: str) -> str:
    """Without the control characters that XML 1.0 has no way to write."""
    return "".join(sign for sign in text if sign in "\n\t" or sign.isprintable())


def markdown(findings: Sequence[Finding]) -> str:
    """For $GITHUB_STEP_SUMMARY: what did not pass in a table, then what did, folded away."""
    heading = {
        EXIT_FINE: "passed", EXIT_REGRESSION: "regression", EXIT_NOT_CHECKED: "could not check",
    }[exit_status(findings)]  # fmt: skip
    lines = [f"### Replication check: {heading}", "", closing(findings)]
    failed = [finding for finding in findings if finding.status not in PASSED]
    passed = [finding for finding in findings if finding.status in PASSED]
    if failed:
        lines += ["", *_table(failed)]
        commands = dict.fromkeys(finding.command for finding in failed if finding.command)
        if commands:
            lines += ["", "To run them again:", "", "```sh", *commands, "```"]
    if passed:
        summary = f"<summary>{len(passed)} passed</summary>"
        lines += ["", "<details>", summary, "", *_table(passed), "", "</details>"]
    return "\n".join(lines) + "\n"


def _table(findings: Sequence[Finding]) -> list[str]:
    rows = [
        f"| {_escaped(finding.what)} | {finding.status} | {_escaped(finding.text)} |"
        for finding in findings
    ]
    return ["| cell | finding | numbers |", "|:--|:--|:--|", *rows]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
