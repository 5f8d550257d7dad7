"""What the linter said of a record is kept beside it, and made again when it no longer holds."""

import json

import pytest

from replication.rules import examination
from replication.rules.examination import Examination, Finding, remembered
from replication.runs import Store, write_json

STEP = "train-0123"


@pytest.fixture
def folder(tmp_path):
    folder = Store(tmp_path).path(STEP)
    folder.mkdir(parents=True)
    write_json(folder / "outcome.json", {"status": "done", "loss": 1.0})
    return folder


class Linter:
    def __init__(self):
        self.calls = 0

    def examine(self, step_id):
        self.calls += 1
        finding = Finding(rule="pixels", value=f"{self.calls}", expected="0", step=step_id)
        return Examination(
            step=step_id, findings=(finding,), applied=("pixels",), lacking={"masks": "the data"}
        )


def ask(tmp_path, linter):
    """As a new process does: a store remembers what it read."""
    return remembered(Store(tmp_path), STEP, linter.examine)


def test_the_second_time_it_is_read(tmp_path, folder):
    linter = Linter()
    first = ask(tmp_path, linter)
    assert ask(tmp_path, linter) == first and linter.calls == 1
    assert first.findings[0].value == "1" and first.lacking == {"masks": "the data"}


def test_another_outcome_is_another_record(tmp_path, folder):
    linter = Linter()
    ask(tmp_path, linter)
    write_json(folder / "outcome.json", {"status": "done", "loss": 2.0})
    assert ask(tmp_path, linter).findings[0].value == "2"


def test_other_rules_look_again(tmp_path, folder, monkeypatch):
    linter = Linter()
    ask(tmp_path, linter)
    monkeypatch.setattr(examination, "_rules", lambda: "others")
    assert ask(tmp_path, linter).findings[0].value == "2"


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '"text"', "stamped"])
def test_a_damaged_one_is_made_again(tmp_path, folder, damage):
    linter = Linter()
    ask(tmp_path, linter)
    file = folder / examination.FILE
    stamp = json.loads(file.read_text())["stamp"]
    file.write_text(json.dumps({"stamp": stamp}) if damage == "stamped" else damage)
    assert ask(tmp_path, linter).findings[0].value == "2"
    assert ask(tmp_path, linter).findings[0].value == "2"
