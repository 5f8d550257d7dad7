"""An earlier commit beside this checkout: repositories of one file, whose command only answers."""

import json
import os
import subprocess

import pytest

from benchmarks import since

# Answers with its words and its data cache's name, in place of a forecast and of a run.
COMMAND = """
import json, os, sys
from pathlib import Path
words = sys.argv[1:]
data, results = Path(os.environ["REPLICATION_DATA"]), Path(words[words.index("--results") + 1])
assert not any(data.iterdir()), "probes and data sets are made anew"
Path({log!r}).open("a").write(json.dumps([{code!r}, *words[:words.index("--results")]]) + "\\n")
if "--dry-run" in words:
    makespans = [
        {{"seconds": {seconds} / n, "chosen": n == int(words[words.index("--workers") + 1])}}
        for n in (1, 2, 4)
    ]
    print(json.dumps({{"forecast": {{"device_hours": {seconds} / 3600, "makespans": makespans}}}}))
else:
    results.mkdir()
    print("ran")
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Two commits, `earlier` and `today`, and what each was asked."""
    home, log = tmp_path / "home", tmp_path / "log"
    (home / "replication").mkdir(parents=True)
    author = ("-c", "user.name=a", "-c", "user.email=a@b")

    def git(*words):
        subprocess.run(["git", *author, *words], cwd=home, check=True, capture_output=True)

    git("init")
    for code, took in (("earlier", 300.0), ("today", 200.0)):
        text = COMMAND.format(code=code, seconds=took, log=str(log))
        (home / "replication" / "run.py").write_text(text)
        git("add", ".")
        git("commit", "-m", code)
        git("tag", code)
    monkeypatch.setattr(since, "HOME", home)
    monkeypatch.setattr(since, "where", lambda: "")
    monkeypatch.chdir(tmp_path)
    return log


def asked(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_forecasts_are_made_in_turn(log, capsys):
    assert since.main(["earlier", "--repetitions", "2", "--table", "5", "--table", "6"]) == 0
    tables = ["--table", "5", "--table", "6", "--tier", "micro", "--workers", "2"]
    assert asked(log) == [[code, *tables] for code in ("today", "earlier", "earlier", "today")]
    out = capsys.readouterr().out
    assert "200 s" in out and "300 s" in out, "of a worker"
    assert "100 s" in out and "150 s" in out, "of two of them"
    assert "1.50 to 1.50" in " ".join(out.split())


def test_whole_both_are_run_once(log, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("")
    arguments = ["earlier", "--whole", "--out", "out", "--tier", "mine.toml"]
    assert since.main(arguments) == 0
    mine = os.fspath(tmp_path / "mine.toml")
    assert asked(log) == [
        ["earlier", "--all", "--tier", "micro", "--workers", "2"],
        ["today", "--all", "--tier", mine, "--workers", "2"],
    ]
    assert (tmp_path / "out" / "ours.txt").read_text() == "ran\n"
    folders = (tmp_path / "out/theirs/micro", tmp_path / "out/ours/mine")
    assert f"benchmarks.tables {folders[0]} {folders[1]}" in capsys.readouterr().out
    # What is there would be gone on with.
    assert since.main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err and len(asked(log)) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere"], "nowhere: no commit of this repository; a shallow clone lacks the earlier"),
        (["earlier", "--workers", "0"], "--workers 0: must be at least 1"),
        (["earlier", "--repetitions", "0"], "--repetitions 0: must be at least 1"),
    ],
)
def test_mistakes_are_a_line(log, given, said, capsys):
    assert since.main(given) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}") and not log.exists()
