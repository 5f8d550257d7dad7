"""References: what they hold, what a damaged one says, and how they are recorded and committed."""

import dataclasses
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from replication.check import main
from replication.planned import planned
from replication.reference.files import read, write
from replication.run import parser as run_parser
from replication.runs import write_json
from tests.reference.check_samples import (
    REFERENCE,
    STEPS,
    commit,
    edit,
    miou,
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


def test_a_reference_says_what_was_run_where_and_from_what(made):
    home, _ = made
    content = json.loads((home / REFERENCE).read_text())
    assert (content["tier"], content["table"], content["clean"]) == ("smoke", 9, True)
    log = subprocess.run(
        ["git", "log", "--format=%H", "--reverse"], cwd=home, capture_output=True, text=True
    )
    assert content["commit"] == log.stdout.split()[0]
    for cell in ("os16", "os8"):
        for run in content["cells"][cell]:
            folder = home / STEPS / run["evaluation"]
            assert run["miou"] == json.loads((folder / "outcome.json").read_text())["miou"]
            log = (home / STEPS / run["training"][-1] / "log.jsonl").read_text().splitlines()
            assert run["losses"] == [json.loads(line)["loss"] for line in log]
    [environment] = content["environments"]
    assert environment["clean"] is True and environment["commit"] == content["commit"]
    for id_, origin in content["steps"].items():
        config = json.loads((home / STEPS / id_ / "config.json").read_text())
        assert origin["identity"] == config


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty; a reference holds recorded runs"),
        ("{}", "damaged (tier: Field required)"),
        ('{"tier": "smo', "damaged ("),
    ],
)
def test_an_empty_or_damaged_reference_is_status_2(home, capsys, content, said):
    REFERENCE.write_text(content)
    commit()
    assert main(["--junit", "junit.xml"]) == 2
    out = capsys.readouterr().out
    assert f"could not check: {REFERENCE}: {said}" in out
    assert ET.parse("junit.xml").getroot().get("errors") == "1"


def test_a_reference_that_is_asked_for_or_in_git_must_be_there(home, capsys):
    assert main(["--table", "4"]) == 2
    assert "could not check: no tier has a reference of table 4 here" in capsys.readouterr().out
    assert main(["--table", "4", "9", "--tier", "smoke"]) == 2
    out = capsys.readouterr().out
    assert "references/smoke-table04.json: no such reference" in out and "4 the same" in out
    assert main(["--tier", "micro"]) == 2
    assert "there are no references of tier micro here" in capsys.readouterr().out
    REFERENCE.unlink()
    assert main([]) == 2
    assert "smoke-table09.json: no such reference" in capsys.readouterr().out


def test_without_git_it_checks_and_says_what_it_cannot_tell(home, capsys):
    shutil.rmtree(".git")
    assert main([]) == 0
    out = capsys.readouterr().out
    assert f"{REFERENCE}: cannot tell whether it is committed (fatal: not a git repo" in out
    assert main(["--update", "--tier", "smoke"]) == 2
    assert "from a clean git checkout only (fatal: not a git" in capsys.readouterr().err


def test_update_wants_a_clean_tree(home, capsys):
    before = REFERENCE.read_bytes()
    set_miou(9.0)
    Path("tables/new.txt").write_text("x")
    assert main(["--update", "--tier", "smoke"]) == 2
    assert "commit or remove tables/new.txt" in capsys.readouterr().err
    assert before == REFERENCE.read_bytes()


def test_update_wants_every_cell_and_records_of_a_clean_tree(home, capsys):
    before = REFERENCE.read_bytes()
    edit(step("evaluate") / "environment.json", lambda e: e.update(clean=False))
    shutil.rmtree(step("evaluate", "os8"))
    assert main(["--update", "--tier", "smoke"]) == 2
    first, second, last = capsys.readouterr().err.splitlines()
    assert "table9/os8 seed 0: not on record in results/smoke: evaluate-" in first
    assert "1 steps on record were made with uncommitted changes" in second
    assert last == "error: no reference was written"
    assert before == REFERENCE.read_bytes()


def test_update_says_what_it_changes_and_leaves_the_check_failing(home, capsys):
    assert main(["--update", "--tier", "smoke"]) == 0
    assert "unchanged" in capsys.readouterr().out
    before = miou()
    set_miou(9.0)
    assert main(["--update", "--tier", "smoke"]) == 1
    out = capsys.readouterr().out
    assert f"table9/os16 seed 0: mIoU {before!r} before, 9.0 now" in out
    assert out.count("before") == 1
    assert main([]) == 2
    commit()
    assert main([]) == 0


def _other_configuration(content):
    id_ = content["cells"]["os16"][0]["training"][-1]
    content["steps"][id_]["identity"]["config"]["stage"]["batch_size"] = 5


def _no_environment(content):
    content["environments"] = []


def _seed_twice(content):
    content["cells"]["os8"][1]["seed"] = 0


def _no_runs(content):
    content["cells"]["os8"] = []


def _no_cells(content):
    content["cells"] = {}


def _lost_step(content):
    del content["steps"][content["cells"]["os8"][0]["evaluation"]]


def _not_a_number(content):
    content["cells"]["os16"][0]["miou"] = float("nan")


def _no_losses(content):
    content["cells"]["os16"][0]["losses"] = []


def _another_table(content):
    content["table"] = 4


def _later_format(content):
    content["format"] = 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_other_configuration, "the id is not that of its configuration"),
        (_no_environment, "there is no environment 0"),
        (_seed_twice, "cells.os8: a seed stands there twice"),
        (_no_runs, "cells.os8: it has no runs"),
        (_no_cells, "cells: Dictionary should have at least 1 item"),
        (_lost_step, "is not among the steps"),
        (_not_a_number, "cells.os16.0.miou: Input should be a finite number"),
        (_no_losses, "cells.os16.0.losses: Tuple should have at least 1 item"),
        (_another_table, "by its content it is smoke-table04.json"),
        (_later_format, "format: Input should be 1"),
    ],
)
def test_a_reference_that_was_edited_is_status_2(home, capsys, spoil, said):
    edit(REFERENCE, spoil)
    commit()
    assert main([]) == 2
    out = capsys.readouterr().out
    assert f"{REFERENCE}: damaged (" in out and said in out
    assert "1 to check: 1 not checked" in out


def test_writing_and_reading_keep_every_bit(home):
    before = read(REFERENCE)
    write(REFERENCE, before)
    assert read(REFERENCE) == before
    assert not subprocess.run(["git", "status", "--porcelain"], capture_output=True).stdout
    odd = dataclasses.replace(before.cells["os16"][0], losses=(0.1 + 0.2, 1e-300, 1 / 3))
    other = dataclasses.replace(before, cells={"os16": (odd,)})
    write(REFERENCE, other)
    assert read(REFERENCE).cells["os16"][0].losses == odd.losses


def test_a_file_of_another_name_is_not_passed_over(home, capsys):
    REFERENCE.rename(REFERENCE.with_name("smoke.json"))
    commit()
    assert main([]) == 2
    assert "by its content it is smoke-table09.json" in capsys.readouterr().out


def test_update_says_which_keys_changed(home, capsys):
    path = Path("tables/table09.toml")
    path.write_text(path.read_text().replace("image_pooling = true", "image_pooling = false"))
    commit()
    assert main(["--update", "--tier", "smoke"]) == 2
    assert capsys.readouterr().err.count("not on record in results/smoke") == 4
    before = read(REFERENCE)
    options = run_parser().parse_args(["--table", "9", "--tier", "smoke", "--seeds", "2"])
    plan = planned(options).plan(tables=[9])
    new_steps = [one.id for run in plan.runs for one in run.steps]
    names = [f"table9/{cell} seed {seed}" for seed in (0, 1) for cell in ("os16", "os8")]
    old_steps = [id_ for name in names for id_ in before.runs()[name].steps]
    for old, new in zip(old_steps, new_steps, strict=True):
        if not (STEPS / new).exists():
            shutil.copytree(STEPS / old, STEPS / new)
            write_json(STEPS / new / "config.json", plan.steps[new].identity)
    assert main(["--update", "--tier", "smoke"]) == 1
    out = capsys.readouterr().out
    assert "train: network.image_pooling: True recorded, False planned" in out
    assert "mIoU" not in out
