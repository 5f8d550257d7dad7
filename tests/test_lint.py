"""The linter's command: what it prints, its exit status, and real data."""

import shutil
from pathlib import Path

import pytest

from replication.lint import findings, main
from tests.data.test_reading import make_voc
from tests.rules.lint_samples import data_cache, edit_json, folder, replicate, step, where

CELLS = ("table4/os16", "table4/os8")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    yield from data_cache(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache) -> Path:
    results = tmp_path_factory.mktemp("results")
    found = where(results)
    replicate(found, found.plan(cells=CELLS))
    return results


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results"))


def test_the_command_says_what_it_applied_to_what(finished, capsys) -> None:
    where_ = ["--tier", "smoke", "--results", str(finished)]
    assert main(where_) == 0
    out = capsys.readouterr().out
    assert "11 rules applied to 4 records (26 checks): no findings" in out
    assert main([*where_, "--table", "4"]) == 0
    assert "11 rules applied to 4 records (26 checks)" in capsys.readouterr().out
    assert main([*where_, "--cell", "table4/os8", "--no-masks"]) == 0
    assert "10 rules applied to 3 records (17 checks)" in capsys.readouterr().out
    assert main([*where_, "--before", "--table", "8"]) == 0
    assert "3 rules applied to 9 planned steps" in capsys.readouterr().out


def test_findings_are_told_by_step_with_status_1(copy, capsys) -> None:
    trained = step(copy, "table4/os8")
    edit_json(folder(copy, trained) / "outcome.json", iterations=1)
    assert main(["--tier", "smoke", "--results", str(copy), "--table", "4"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{trained.id}  train table4/os16 on voc trainaug seed 0"
    assert out[1].startswith("  iterations: the outcome ends") and "1 finding" in out[2]
    assert "1 findings" not in out[2]


def test_a_small_real_split_warns_and_a_leak_is_found(tmp_path, capsys) -> None:
    root = make_voc(tmp_path, ids=("a", "b", "c", "d"))
    lists = root / "VOC2012/ImageSets/Segmentation"
    (lists / "trainaug.txt").write_text("a\nb\nc\n")
    (lists / "val.txt").write_text("d\n")
    found = where(tmp_path / "results", "--data", f"voc={root}")
    replicate(found, found.plan(cells=["table9/batch4"]))
    options = ["--tier", "smoke", "--results", str(tmp_path / "results")]
    assert main([*options, "--data", f"voc={root}"]) == 0
    out = capsys.readouterr().out
    assert "warning: split size: voc val has 1 images, smaller than the official split" in out
    assert "no findings, 2 warnings" in out
    assert main([*options, "--data", f"voc={root}", "--before", "--table", "9"]) == 0
    # Where numbers are comparable it is a fault.
    [run] = found.plan(cells=["table9/batch4"]).runs
    [fault] = findings(found.store, run.evaluation, sources=found.sources, comparable=True)
    assert fault.rule == "split size" and not fault.warning
    capsys.readouterr()
    # The data at hand are no longer those of the record.
    (lists / "trainaug.txt").write_text("a\nb\nd\n")
    assert main([*options, "--data", f"voc={root}", "--before", "--cell", "table9/batch4"]) == 1
    assert "holds 1 of the 1 pictures of val" in capsys.readouterr().out
    # The record's own list of what it was trained on is what counts; without one it cannot tell.
    assert main([*options, "--data", f"voc={root}"]) == 0
    assert "unseen" not in capsys.readouterr().out
    for listed in found.store.steps.glob("train-*/images.txt"):
        listed.unlink()
    assert main([*options, "--data", f"voc={root}"]) == 0
    assert "not checked: unseen of 1 records: needs --data voc=PATH" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no finished record; nothing to check"),
        (["--table", "4"], "no finished record of these tables and seeds"),
        (["--table", "44"], "--table 44: no such table; there are 1, 2"),
        (["--cell", "table4/os9"], 'no such cell; the nearest known is "table4/os8"'),
    ],
)
def test_wrong_input_is_one_line_and_status_2(tmp_path, capsys, arguments, text) -> None:
    assert main(["--tier", "smoke", "--results", str(tmp_path), *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert text in line
