"""What the linter says of a step, and what it said before of a record that has not changed since.

No torch, no numpy: a plan whose steps are done is judged from these in a second.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from replication.errors import RunError
from replication.runs import Store, read_json, write_json

FILE = "examination.json"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule that a step breaks."""

    rule: str
    value: str
    expected: str
    step: str
    # Told, but no ground to distrust the number.
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.rule}: {self.value}; expected: {self.expected}"


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What came of one step: the rules that were applied, and those that lacked something."""

    step: str
    findings: tuple[Finding, ...]
    applied: tuple[str, ...]
    # What each rule lacked that could not be applied.
    lacking: Mapping[str, str]


def remembered(store: Store, step_id: str, examine: Callable[[str], Examination]) -> Examination:
    """The examination that lies beside a record, made now where none of this record and by these
    rules does.
    """
    file = store.path(step_id) / FILE
    outcome = json.dumps(store.outcome(step_id), sort_keys=True)
    stamp = sha256(f"{_rules()} {outcome}".encode()).hexdigest()
    if file.is_file():
        try:
            kept = read_json(file)
            if kept["stamp"] == stamp:
                return _from_json(step_id, kept)
        except (RunError, KeyError, TypeError):
            pass  # damaged: made again
    found = examine(step_id)
    write_json(file, {"stamp": stamp, **asdict(found)})
    return found


def _from_json(step_id: str, kept: Mapping[str, Any]) -> Examination:
    return Examination(
        step=step_id,
        findings=tuple(Finding(**one) for one in kept["findings"]),
        applied=tuple(kept["applied"]),
        lacking=dict(kept["lacking"]),
    )


@cache
def _rules() -> str:
    """A hash of the rules' own code: what older ones said is not what these say."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
