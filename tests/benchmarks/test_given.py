"""What the benchmarks are given wrongly: one line, status 2, and nothing is measured before it."""

import importlib

import pytest

from benchmarks.commands import python
from benchmarks.given import writable
from replication.errors import RunError

WRONG = [
    ("speed.__main__", "--only input --data voc=/nonexistent", "/nonexistent: no such folder"),
    ("speed.__main__", "--only startup --data coco=X", "--data coco=…: is not measured here"),
    ("speed.__main__", "--only startup --data X", "--data X: must be voc=PATH"),
    ("speed.__main__", "--only steps", "--only steps: must be of startup"),
    ("speed.__main__", "--repetitions 0", "--repetitions 0: must be at least 1"),
    ("speed.__main__", "--only startup --json {file}/a.json", "file: File exists"),
    ("speed.__main__", "--only startup --write {folder}", "is a folder; give a file in it"),
    ("paper_size", "", "no data for the role voc; give --data voc=PATH"),
    ("paper_size", "--data voc=/nonexistent", "/nonexistent: no such folder"),
    ("paper_size", "--data voc=X --images 0", "--images 0: must be at least 1"),
    ("paper_size", "--data voc=X --batch-size 1", "--batch-size 1: image pooling's"),
    ("paper_size", "--data voc=X --batch-size -3", "--batch-size -3: must be at least 1"),
    ("paper_size", "--data voc=X --device foo", "--device foo"),
    ("paper_size", "--data voc=X --weights resnet50=F", "--weights resnet50=…: is not measured"),
    ("precision", "--seeds 0", "--seeds 0: must be at least 1"),
    ("pretraining", "--seeds 0", "--seeds 0: must be at least 1"),
    ("limits", "--repetitions 0", "--repetitions 0: must be at least 1"),
    ("growth.__main__", "--repetitions 0", "--repetitions 0: must be at least 1"),
    ("growth.__main__", "--write {file}", "file: File exists"),
    ("coverage", "--draws 0", "--draws 0: must be at least 1"),
    ("false_alarms", "--draws 0", "--draws 0: must be at least 1"),
    ("false_alarms", "--tables /nonexistent", "/nonexistent"),
    ("kill_and_resume", "--kills 0 --out {folder}", "--kills 0: must be at least 1"),
    ("limits", "--repetition5", "--repetition5: no such option; the nearest known is"),
]


@pytest.mark.parametrize(("module", "words", "expected"), WRONG)
def test_a_mistake_is_one_line(module, words, expected, tmp_path, capsys):
    (tmp_path / "file").touch()
    given = words.format(file=tmp_path / "file", folder=tmp_path).split()
    command = importlib.import_module(f"benchmarks.{module}").main
    try:
        status = command(given)
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr()
    assert status == 2 and expected in said.err and len(said.err.splitlines()) == 1
    assert said.out == ""


def test_a_missing_folder_is_made_before_anything_is_written(tmp_path):
    writable(tmp_path / "a" / "b" / "c.json")
    assert list((tmp_path / "a").rglob("*")) == [tmp_path / "a" / "b"]


def test_a_command_that_fails_is_named():
    with pytest.raises(RunError, match=r"python -c raise SystemExit\(3\): ended with status 3"):
        python("-c", "raise SystemExit(3)")


def test_a_command_keeps_what_it_compiled(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    python("-c", "import sys; sys.exit(sys.dont_write_bytecode)")
