"""Planted faults: every edit still fits the sources, and what is read of them is what was said.

Nothing is trained here; `python -m benchmarks.planted` does that, in minutes.
"""

import ast
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from benchmarks import planted, sightings
from benchmarks.faults import FAULTS
from benchmarks.planted import HERE
from benchmarks.sightings import Numbers, Rules, Sighting, UnitTests
from replication.errors import RunError
from replication.lint import _tell
from replication.reference import findings
from replication.reference.against import _Cell
from replication.reference.files import Run
from replication.reference.findings import Finding
from replication.rules import linter

BY_NAME = {fault.name: fault for fault in FAULTS}


# The faults.


@pytest.mark.parametrize("name", BY_NAME)
def test_every_fault_fits_the_sources(name):
    fault = BY_NAME[name]
    source = (HERE / fault.file).read_text(encoding="utf-8")
    spoilt = fault.planted(source)
    compile(spoilt, fault.file, "exec")
    assert ast.dump(ast.parse(spoilt)) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("name", BY_NAME)
def test_the_unit_tests_that_must_see_it_are_there(name):
    assert BY_NAME[name].tests
    for node in BY_NAME[name].tests:
        file, _, function = node.partition("::")
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        assert function in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}


def test_a_text_that_is_gone_or_there_twice_is_one_line():
    fault = FAULTS[0]
    for source, times in (("pass", 0), (f"{fault.right}\n{fault.right}", 2)):
        with pytest.raises(RunError, match=f"{fault.name}: .* {times} times, not once") as caught:
            fault.planted(source)
        assert len(str(caught.value).splitlines()) == 1


def test_the_faults_that_reproductions_are_known_for_are_all_there():
    assert len(BY_NAME) == len(FAULTS)
    assert BY_NAME.keys() >= {
        "multi-grid", "bn-freeze", "void-evaluation", "void-loss", "miou-per-image",
        "align-corners", "aspp-rates",
    }  # fmt: skip


# What is read.


def exact(cell, *, miou=5.0, losses=(2.5, 2.4)):
    """What `check` finds on a run that is to be the recorded one to the bit."""
    before = Run(seed=0, miou=5.0, losses=(2.5, 2.4), training=("train-1",), evaluation="e-1")
    held = SimpleNamespace(
        reference=SimpleNamespace(table=4), name="smoke-table04.json",
        command=lambda cell, seed, afresh: "python -m replication.run",
    )  # fmt: skip
    one = _Cell(check=held, id=cell, recorded={0: before}, planned={})
    return one._exact(before, replace(before, miou=miou, losses=losses))


def junit(tmp_path, *found):
    (tmp_path / "check.xml").write_bytes(findings.junit(found))
    return tmp_path / "check.xml"


def test_numbers_are_those_that_check_reports(tmp_path):
    same, by_loss = exact("a"), exact("b", losses=(2.5, 2.41), miou=5.1)
    assert str(sightings.numbers(junit(tmp_path, same, same))) == sightings.UNSEEN
    found = sightings.numbers(junit(tmp_path, same, by_loss, exact("c", miou=5.1)))
    assert (found.cells, found.changed, found.by_losses) == (3, ("table4/b", "table4/c"), 1)
    assert str(found) == (
        "2 of 3 cells, 1 by losses, 1 by mIoU alone: table4/b, table4/c"
    )  # fmt: skip
    assert str(sightings.numbers(junit(tmp_path, *[by_loss] * 3))) == "3 of 3 cells, by losses"


def test_what_could_not_be_checked_is_no_sighting(tmp_path):
    lacking = Finding(status="not checked", reference="r", cell="table4/a", text="no record")
    with pytest.raises(RunError, match="table4/a: no record"):
        sightings.numbers(junit(tmp_path, exact("b", miou=5.1), lacking))
    with pytest.raises(RunError, match="compared nothing"):
        sightings.numbers(junit(tmp_path))


def test_rules_are_those_that_lint_prints():
    def examined(kind, *rules):
        step = f"{kind}-0123456789abcdef"
        found = tuple(
            linter.Finding(rule=rule, value=f"{i}", expected="0", step=step, warning=rule == "size")
            for i, rule in enumerate(rules)
        )
        return linter.Examination(step=step, findings=found, applied=rules, lacking={})

    console = Console(width=120)
    with console.capture() as capture:
        for one in (
            examined("train", "geometry", "geometry", "batch norm"),
            examined("evaluate", "geometry", "size"),
            examined("pretrain"),
        ):
            _tell(one, {}, console)
    found = sightings.rules(capture.get() + "\n4 rules applied to 3 records (9 checks): 4 findings")
    assert found.records == {"geometry": 2, "batch norm": 1}
    assert str(found) == "geometry (2 records), batch norm (1 record)"
    nothing = sightings.rules("4 rules applied to 3 records (9 checks): no findings\n")
    assert str(nothing) == sightings.UNSEEN


def run_pytest(tmp_path, text):
    (tmp_path / "test_it.py").write_text(f"import pytest\n{text}")
    file = tmp_path / "tests.xml"
    words = ["-q", "-p", "no:cacheprovider", f"--junitxml={file}", "test_it.py"]
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=tmp_path, capture_output=True)
    return file


def test_unit_tests_are_those_that_pytest_reports(tmp_path):
    text = (
        "@pytest.mark.parametrize('n', [1, 2, 3])\ndef test_one(n): assert n == 1\n"
        "def test_two(): pass\n"
    )
    found = sightings.unit_tests(run_pytest(tmp_path, text))
    assert found.failed == ("test_one", "test_one") and str(found) == "`test_one`"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def test_one(missing): pass", "test_one: error"),
        ("def test_one(): pytest.skip('not here')", "test_one: skipped .*not here"),
        ("import nothing_of_this_name", "error"),
        ("", "no test was run"),
    ],
)
def test_a_test_that_did_not_run_is_no_sighting(tmp_path, text, said):
    with pytest.raises(RunError, match=said):
        sightings.unit_tests(run_pytest(tmp_path, text))


# The matrix.


def sighting(name="x", *, changed=(), elsewhere=(), records=None, failed=()):
    numbers, other = (Numbers(cells=3, changed=c, by_losses=0) for c in (changed, elsewhere))
    return Sighting(
        name=name, what="a fault", numbers=numbers, elsewhere=other,
        rules=Rules(records=records or {}), tests=UnitTests(failed=failed),
    )  # fmt: skip


def test_one_that_sees_it_is_enough_and_elsewhere_does_not_count():
    seen = [
        sighting(changed=("table4/a",)),
        sighting(records={"geometry": 1}),
        sighting(failed=("test_one",)),
    ]
    assert [one.caught for one in seen] == [True] * 3
    assert sightings.closing(seen)[1] == 0
    text, status = sightings.closing([*seen, sighting("y", elsewhere=("table4/a",))])
    assert (text, status) == ("caught by nothing: y", 1)


def test_the_matrix_is_a_markdown_table():
    lines = sightings.matrix([sighting(), sighting(records={"score": 3})]).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| **x**: a fault | – | – | – | – |"
    assert lines[3] == "| **x**: a fault | – | – | score (3 records) | – |"


# The command.


@pytest.fixture
def without_training(monkeypatch):
    """The command with sightings of our own in the place of runs; those by the trial's name."""
    seen = {}
    monkeypatch.setattr(planted, "copy_checkout", lambda to: None)
    monkeypatch.setattr(planted, "record_missing", lambda base, folder: None)
    monkeypatch.setattr(
        planted, "trial", lambda base, folder, fault, tests: seen.get(folder.name, sighting())
    )
    return seen


def test_a_fault_that_nothing_catches_is_status_1(without_training, capsys):
    without_training.update({name: sighting(name, failed=("test_one",)) for name in BY_NAME})
    assert planted.main([]) == 0
    assert f"all {len(FAULTS)} faults are caught" in capsys.readouterr().out
    without_training["bn-freeze"] = sighting("bn-freeze")
    assert planted.main([]) == 1
    assert capsys.readouterr().out.endswith("caught by nothing: bn-freeze\n")
    assert planted.main(["--fault", "multi-grid"]) == 0


def test_a_control_that_does_not_pass_is_status_1(without_training, capsys):
    without_training["control"] = sighting("no fault", records={"geometry": 1})
    assert planted.main(["--fault", "multi-grid"]) == 1
    out = capsys.readouterr().out
    assert "the control does not pass" in out and "geometry (1 record)" in out


def test_mistakes_are_one_line_and_status_2(without_training, tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.txt").write_text("")
    assert planted.main(["--results", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"error: --results {tmp_path}: not empty; give a new folder"
    monkeypatch.setattr(planted, "FAULTS", (replace(FAULTS[0], right="nowhere at all"),))
    assert planted.main([]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "0 times, not once (nowhere at all …)" in line
    with pytest.raises(SystemExit) as caught:
        planted.main(["--fault", "gravity"])
    assert caught.value.code == 2


def git(folder, *words):
    words = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=no", *words)
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_checkout_is_the_sources_as_they_are_on_disk(tmp_path, monkeypatch):
    here = tmp_path / "here"
    (here / "deep").mkdir(parents=True)
    (here / ".gitignore").write_text("*.pyc\n")
    for name in ("kept", "changed", "deleted", "deep/é a"):
        (here / name).write_text("old")
    git(here, "init", "--quiet")
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "--message", "old")
    (here / "changed").write_text("new")
    (here / "deleted").unlink()
    (here / "added").write_text("new")
    (here / "ignored.pyc").write_text("new")
    monkeypatch.setattr(planted, "HERE", here)
    planted.copy_checkout(tmp_path / "there")
    there = {p.relative_to(tmp_path / "there") for p in (tmp_path / "there").rglob("*")}
    names = {str(path) for path in there if ".git" not in path.parts}
    assert names == {".gitignore", "kept", "changed", "deep", "deep/é a", "added"}
    assert (tmp_path / "there/changed").read_text() == "new"
    assert git(tmp_path / "there", "status", "--porcelain") == []
    assert len(git(tmp_path / "there", "log", "--format=%h")) == 1


def test_a_command_runs_in_the_checkout_with_data_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "probe.py").write_text(
        "import os, sys\n"
        "print(os.getcwd(), os.environ['REPLICATION_DATA'], 'GITHUB_STEP_SUMMARY' in os.environ)\n"
        "sys.exit(len(sys.argv) - 1)\n"
    )
    folder = tmp_path / "fault"
    said = planted.call(tmp_path, folder, "probe", "probe").split()
    assert said == [str(tmp_path), str(folder / "data"), "False"]
    assert (folder / "probe.txt").read_text().split() == said
    planted.call(tmp_path, folder, "probe", "probe", "one", allowed=(0, 1))
    with pytest.raises(RunError, match=r"fault: probe ended with status 2: .*False"):
        planted.call(tmp_path, folder, "probe", "probe", "one", "two", allowed=(0, 1))
