"""Precision's cost: differences of two tiers' records, with an interval where seeds allow one."""

import re

import pytest

from benchmarks import precision


class Records:
    """Every step is done; bfloat16 loses a point under seed 0 and wins two under others."""

    def __init__(self, folder):
        self.bf16, self.seeds = folder.name == "micro-bf16", {}

    def status(self, step):
        self.seeds[step.id] = step.config.get("seed", self.seeds.get(step.parent))
        return "done"

    def outcome(self, id_):
        changed = -1.0 if self.seeds[id_] == 0 else 2.0
        return {"miou": 50.0 + changed * self.bf16, "seconds": 30.0 if self.bf16 else 45.0}


@pytest.fixture
def records(monkeypatch):
    monkeypatch.setattr(precision, "Store", Records)


def test_one_seed_has_differences_and_no_interval(records, capsys):
    assert precision.main(["--table", "4", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert "table4/os8: -1.00\n" in said
    assert "all 4 evaluations: mean -1.00, median -1.00, of -1.00 to -1.00" in said
    assert "1.50 times as long" in said


def test_several_seeds_have_an_interval(records, capsys):
    """Student's t by hand: -1, 2 and 2 have mean 1 and standard error 1; t(0.975, 2) is 4.303."""
    assert precision.main(["--table", "4", "--seeds", "3"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"table4/os16: \+1\.00 \[-3\.30, \+5\.30\] \(-1\.00, \+2\.00, \+2\.00\)", said)
    assert "all 12 evaluations: mean +1.00, median +2.00, of -1.00 to +2.00" in said
