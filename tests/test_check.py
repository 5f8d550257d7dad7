"""The check against real smoke trainings: what passes, what fails, and what it says."""

import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from replication import runs
from replication.check import main
from replication.check import parser as check_parser
from replication.planned import planned
from replication.run import parser as run_parser
from tests.reference.check_samples import (
    REFERENCE,
    STEPS,
    commit,
    edit,
    miou,
    other_environment,
    recorded,
    set_miou,
    spoilable,
    step,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return recorded(tmp_path_factory.getbasetemp())


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    return spoilable(made[0], tmp_path / "checkout", monkeypatch)


def test_from_no_reference_to_a_committed_one(made):
    _, said = made
    status, out = said["before"]
    assert status == 2 and "there are no references of tier smoke here" in out
    status, out = said["update"]
    assert status == 1
    assert out.splitlines()[-1] == f"references changed: commit them: {REFERENCE}"
    assert out.count(", new") == 4
    status, out = said["uncommitted"]
    assert status == 2 and "references changed: commit them" in out and "same" not in out
    status, out = said["committed"]
    assert status == 0
    assert out.count("the reference's to the bit") == 4
    assert "4 to check: 4 the same to the bit; exit status 0" in out


def test_neither_torch_nor_scipy_is_imported(home):
    code = (
        "import sys; from replication.check import main; assert main([]) == 0; "
        "sys.exit(bool({'torch', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("towards", [0.0, 100.0])
def test_a_loss_in_its_last_digit_is_a_regression(home, capsys, towards):
    log = step("train") / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    before = lines[0]["loss"]
    lines[0]["loss"] = math.nextafter(before, towards)
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main([]) == 1
    out = capsys.readouterr().out
    # Both cells have that training; the other seed has its own.
    assert out.count("regression  table9/") == 2 and out.count("same        table9/") == 2
    assert f"{lines[0]['loss']!r} measured, {before!r} in the reference" in out


def test_an_miou_in_its_last_digit_is_a_regression_upwards_too(home, capsys):
    before = miou()
    set_miou(math.nextafter(before, 100))
    assert main([]) == 1
    out = capsys.readouterr().out
    assert f"mIoU {miou()!r} measured, {before!r} in the reference" in out
    assert "raises VERSION in replication/runs.py" in out


def test_the_command_reproduces_it_in_a_folder_of_its_own(home, capsys):
    set_miou(1.0, "os8", seed=1)
    assert main([]) == 1
    [line] = [x for x in capsys.readouterr().out.splitlines() if "python -m replication.run" in x]
    words = shlex.split(line)
    given = run_parser().parse_args(words[3:])
    assert (given.cell, given.tier, given.seeds) == (["table9/os8"], "smoke", 2)
    assert not given.results.exists()
    where = planned(given)
    again = {run.evaluation.id for run in where.plan(cells=given.cell).runs}
    assert step("evaluate", "os8", seed=1).name in again


def test_a_lower_miou_in_another_environment(home, capsys):
    other_environment()
    before = miou()
    set_miou(before - 2)
    assert main(["--seeds", "1"]) == 1
    out = capsys.readouterr().out
    assert f"mIoU {before - 2:.2f} (seed 0) against the reference's {before:.2f} (seed 0)" in out
    assert "single seed: declared margin 1" in out
    assert "another environment: torch 2.1" in out and "2.99.0 here" in out
    assert "--cell table9/os16 --tier smoke --seeds 1" in out
    set_miou(before - 0.5)
    assert main(["--seeds", "1"]) == 0
    assert "2 to check: 2 no worse" in capsys.readouterr().out
    assert main(["--seeds", "1", "--margin", "0.1"]) == 1


def test_several_seeds_in_another_environment_are_tested(home, capsys):
    other_environment("1.0")
    assert main([]) == 0
    assert "4 to check: 4 no worse" in capsys.readouterr().out
    before = [miou(seed=0), miou(seed=1)]
    for changes, status, said in (
        ((0.001, -0.001), 0, "no worse    table9/os16 seeds 0, 1: mIoU"),
        ((-1.5, -1.49), 1, "regression  table9/os16 seeds 0, 1: mIoU"),
        ((-0.5, -1.3), 2, "not checked table9/os16 seeds 0, 1: undecided: mIoU"),
    ):
        for seed, change in enumerate(changes):
            set_miou(before[seed] + change, seed=seed)
        assert main([]) == status
        out = capsys.readouterr().out
        assert said in out and "t of paired seeds" in out
        assert "α = 0.05" in out and "declared margin 1" in out
    assert "-0.90 [-3.43, +1.63]" in out  # -0.9 -/+ 6.314 * 0.5657 / sqrt(2)
    assert "these seeds could show no margin below 3.43" in out
    assert "more seeds or a larger --margin would decide" in out
    assert main(["--margin", "3.5"]) == 0


def test_a_report_that_cannot_be_written_hides_no_regression(home, capsys):
    set_miou(90.0)
    assert main(["--junit", "results/smoke/steps"]) == 1
    told = capsys.readouterr()
    assert "exit status 1" in told.out and "the report is not written" in told.err


def test_seeds_that_the_reference_does_not_have(home, capsys):
    edit(REFERENCE, lambda r: [runs.pop() for runs in r["cells"].values()])
    commit()
    assert main([]) == 0
    assert "2 to check: 2 the same to the bit" in capsys.readouterr().out
    assert main(["--seeds", "2"]) == 2
    out = capsys.readouterr().out
    assert "2 the same to the bit, 2 not checked" in out
    assert "seed 1: the reference does not have this seed; record it with --update" in out
    # In another environment they join the test.
    other_environment()
    main(["--seeds", "2", "--margin", "50"])
    out = capsys.readouterr().out
    assert "4 no worse" in out and "(2 seeds) against the reference's" in out


def test_another_version_is_tested_not_compared_bit_for_bit(home, capsys, monkeypatch):
    options = run_parser().parse_args(["--table", "9", "--tier", "smoke", "--seeds", "2"])
    before = planned(options).plan(tables=[9])
    monkeypatch.setattr(runs, "VERSION", runs.VERSION + 1)
    after = planned(options).plan(tables=[9])
    assert main([]) == 2
    assert "not on record in results/smoke" in capsys.readouterr().out
    for old, new in zip(before.steps.values(), after.steps.values(), strict=True):
        folder = (STEPS / old.id).rename(STEPS / new.id)
        runs.write_json(folder / "config.json", new.identity)
    assert main(["--seeds", "1"]) == 0
    out = capsys.readouterr().out
    assert f"VERSION {runs.VERSION - 1} recorded, {runs.VERSION} now" in out
    assert "2 no worse" in out and "to the bit" not in out


def _lose_evaluation():
    shutil.rmtree(step("evaluate"))


def _lose_training():
    shutil.rmtree(step("train"))


def _lose_everything():
    shutil.rmtree("results")


def _lose_log():
    (step("train") / "log.jsonl").unlink()


def _empty_log():
    (step("train") / "log.jsonl").write_text("")


def _cut_outcome():
    path = step("evaluate") / "outcome.json"
    path.write_text(path.read_text()[:20])


def _no_miou():
    set_miou(None)


def _lose_environment():
    (step("evaluate") / "environment.json").unlink()


def _no_status():
    (step("evaluate") / "outcome.json").write_text("{}")


def _odd_environment():
    (step("evaluate") / "environment.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_lose_evaluation, "not on record in results/smoke: evaluate-"),
        (_lose_training, "not on record in results/smoke: train-"),
        (_lose_everything, "4 to check: 4 not checked"),
        (_lose_log, "log.jsonl: damaged"),
        (_empty_log, "losses: Tuple should have at least 1 item"),
        (_cut_outcome, "outcome.json: damaged"),
        (_no_miou, "miou: Input should be a valid number"),
        (_lose_environment, "environment.json: damaged"),
        (_no_status, "outcome.json: damaged (no status)"),
        (_odd_environment, "environment.json: damaged (no object)"),
    ],
)
def test_what_is_missing_or_damaged_never_passes(home, capsys, spoil, said):
    spoil()
    assert main([]) == 2
    out = capsys.readouterr().out
    assert said in out and "not checked table9/os16 seed 0" in out and "Traceback" not in out
    assert "python -m replication.run --cell table9/os16 --tier smoke --seeds 1" in out


def test_a_failed_training_is_a_regression(home, capsys):
    edit(
        step("train") / "outcome.json",
        lambda outcome: outcome.update(status="failed", error="the loss became nan"),
    )
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "regression  table9/os16 seed 0: failed: the loss became nan (train-" in out
    assert "the reference's mIoU is" in out


def test_a_regression_goes_before_what_could_not_be_checked(home, capsys):
    shutil.rmtree(step("evaluate", "os16"))
    set_miou(1.0, "os8")
    assert main([]) == 1
    assert "1 worse or changed, 1 not checked; exit status 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"aspp"', '"cascade"'), "train: network.head: 'aspp' recorded, 'cascade' planned"),
        (("= [6, 12, 18]", "= [6, 12]"), "network.atrous_rates: [3, 6, 9] recorded, [3, 6] pl"),
        (('os16"\neval', 'os16"\nbatch_size = 4\neval'), "stage.batch_size"),
    ],
)
def test_a_reference_of_another_configuration_is_said_and_not_used(home, capsys, change, said):
    path = Path("tables/table09.toml")
    text = path.read_text()
    assert change[0] in text
    text = text.replace(*change)
    if "cascade" in change[1]:
        text = text.replace("atrous_rates = [6, 12, 18]\nimage_pooling = true\n", "")
    path.write_text(text)
    assert main([]) == 2
    out = capsys.readouterr().out
    assert "could not check: reference is from another configuration" in out and said in out
    assert "record it afresh with --update" in out


def test_other_data_are_another_configuration(home, capsys):
    (home / "elsewhere").mkdir()
    assert main(["--data", f"voc={home / 'elsewhere'}"]) == 2
    assert "could not check:" in capsys.readouterr().out


def test_cells_that_came_and_went_are_not_checked(home, capsys):
    path = Path("tables/table09.toml")
    path.write_text(path.read_text().replace('id = "os8"', 'id = "os-eight"'))
    assert main([]) == 2
    out = capsys.readouterr().out
    assert "not checked table9/os8 seeds 0, 1: the table has no such cell" in out
    assert "not checked table9/os-eight: the reference does not have it" in out
    assert "2 the same to the bit, 3 not checked" in out


def test_reports_for_machines(home, capsys):
    set_miou(1.0)
    shutil.rmtree(step("evaluate", "os8", seed=1))
    assert main(["--junit", "out/junit.xml", "--summary", "summary.md"]) == 1
    root = ET.parse("out/junit.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert sorted(cases) == [
        "table9/os16 seed 0", "table9/os16 seed 1", "table9/os8 seed 0", "table9/os8 seed 1",
    ]  # fmt: skip
    failure = cases["table9/os16 seed 0"].find("failure")
    assert "mIoU 1.0 measured" in failure.get("message")
    assert "python -m replication.run --cell table9/os16" in failure.text
    assert "not on record" in cases["table9/os8 seed 1"].find("error").get("message")
    assert cases["table9/os16 seed 1"].find("failure") is None
    summary = Path("summary.md").read_text()
    assert summary.startswith("### Replication check: regression\n")
    assert "| table9/os16 seed 0 | regression | mIoU 1.0 measured" in summary
    assert "--cell table9/os16 --tier smoke --seeds 1" in summary
    # The same names where seeds are tested together, for a server that follows them.
    other_environment()
    main(["--junit", "out/junit.xml"])
    again = [case.get("name") for case in ET.parse("out/junit.xml").getroot().iter("testcase")]
    assert sorted(again) == sorted(cases)


def test_the_step_summary_of_github_is_appended_to(home, monkeypatch):
    summary = home / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main([]) == 0
    assert summary.read_text().startswith("before\n### Replication check: passed\n")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--margin", "-1"], "--margin -1: must be points of mIoU, 0 or more"),
        (["--margin", "nan"], "--margin nan: must be"),
        (["--alpha", "0.5"], "--alpha 0.5: must lie between 0 and 0.5"),
        (["--seeds", "0"], "--seeds 0: must be at least 1"),
        (["--update"], "--update: give --tier NAME"),
        (["--update", "--tier", "micro"], "no reference of micro yet; give --table N"),
        (["--update", "--tier", "smoke", "--table", "4"], "table 4: no such table; there are 9"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(home, capsys, given, said):
    assert main(given) == 2
    error = capsys.readouterr().err.splitlines()
    assert said in error[0] and all(line.startswith("error: ") for line in error)


def test_the_documentations_commands_are_commands():
    text = (Path(__file__).resolve().parents[1] / "docs/ci.md").read_text()
    lines = re.findall(r"^.*python -m (replication\.\w+) (.+)$", text, re.MULTILINE)
    parsers = {"replication.check": check_parser(), "replication.run": run_parser()}
    assert {module for module, _ in lines} == set(parsers)
    for module, words in lines:
        given = parsers[module].parse_args(shlex.split(words))
        assert given.tier == "smoke"
