"""Comparisons: their verdicts, their page, and what is kept when one fails. Nothing is timed."""

import json

import pytest

from benchmarks.speed import __main__ as speed
from benchmarks.speed.alternating import Comparison, as_markdown
from replication.errors import RunError


def compared(**changes):
    fields = {"what": "work", "theirs_is": "other", "ours": (1.0, 2.0, 4.0), "theirs": (2.0,) * 3}
    return Comparison(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "aim", "verdict"),
    [
        ({}, "none", ""),
        ({"target": 1.0}, "1 times", "met"),
        ({"target": 1.1}, "1.1 times", "missed"),
        ({"within": 2.0}, "2 s", "met"),
        ({"within": 1.9}, "1.9 s", "missed"),
    ],
)
def test_an_aim_is_met_or_missed_by_the_median(changes, aim, verdict):
    one = compared(**changes)
    assert one.speedup == 1.0
    assert (one.aim, one.verdict) == (aim, verdict)


def test_a_table_says_seconds_of_runs_and_rates_of_pieces():
    text = "\n".join(as_markdown([compared(within=0.3), compared(pieces=16, unit="image")]))
    assert "| ours | 2 s | 1 s to 4 s |" in text and "Aim: 0.3 s: missed." in text
    assert "| ours | 8 images/s | 16 images/s to 4 images/s |" in text and "No aim." in text
    assert "| speed-up | 1.00 | 0.50 to 2.00 |" in text


def test_what_was_compared_before_one_fails_is_on_disk(tmp_path, monkeypatch, capsys):
    def compare(repetitions):
        assert repetitions == 3
        yield compared(target=0.5)
        raise RunError("the second fails")

    monkeypatch.setattr(speed.startup, "compare", compare)
    file, page = tmp_path / "made" / "speed.json", tmp_path / "speed.md"
    given = ["--only", "startup", "--repetitions", "3", "--json", str(file), "--write", str(page)]
    assert speed.main(given) == 2
    assert capsys.readouterr().err == "error: the second fails\n"
    found = json.loads(file.read_text())
    [one] = found["comparisons"]
    assert (one["part"], one["what"], one["verdict"]) == ("startup", "work", "met")
    assert found["processor"] and found["repetitions"] == 3 and "commit" in found
    text = page.read_text()
    assert text.startswith("# How fast it is\n") and "## Start-up\n\n### work\n" in text
    assert "medians of 3 repetitions" in text and "Aim: 0.5 times: met." in text
