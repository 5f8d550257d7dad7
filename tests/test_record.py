"""A server's score entered by hand: for which cells, once, and shown in every rendering."""

import datetime
import json
import types

import pytest
import torch

from replication import arguments, environment, record
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.errors import RunError
from replication.plan import build
from replication.rules.linter import Examination, Linter
from replication.run import main
from replication.runs import Store
from replication.spec import load_tables
from replication.submission import recorded
from replication.tiers import load_tier
from tests.data.test_reading import make_voc

URL = "http://host.robots.ox.ac.uk:8080/anonymous/ABCDEF.html"


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """A results folder at the paper tier in which Table 7's chain is on record, trained on two
    small trees and a file of weights.
    """
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "cache"))
    options = []
    for role in ("voc", "coco"):
        root = make_voc(tmp_path / role, ids=("a", "b", "c"))
        lists = root / "VOC2012/ImageSets/Segmentation"
        for split in ("trainaug", "trainval"):
            (lists / f"{split}.txt").write_text("a\nb\n")
        (lists / "test.txt").write_text("c\n")
        options += ["--data", f"{role}={root}"]
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet101.pth")
    options += ["--weights", f"resnet101={tmp_path / 'resnet101.pth'}"]
    where = ["--tier", "paper", "--results", str(tmp_path / "results")]
    found = types.SimpleNamespace(
        inputs=options, where=where, folder=tmp_path / "results/paper", root=tmp_path
    )
    found.training = trained(found, options)
    return found


@pytest.fixture
def sound(monkeypatch):
    """The records of `paper` are husks without weights and logs; here they pass for whole."""
    nothing = Examination(step="", findings=(), applied=(), lacking={})
    monkeypatch.setattr(Linter, "examine", lambda self, step_id: nothing)


def trained(paper, options, seed=0):
    """Put the chain's trainings on record as done; returns the last one's id."""
    tier = load_tier("paper", HOME / "tiers")
    pairs = dict(text.split("=", 1) for text in options if "=" in text)
    data = {role: path for role, path in pairs.items() if role in ("voc", "coco")}
    weights = arguments.hashes({"resnet101": pairs["resnet101"]})
    tables = [table for table in load_tables(HOME / "tables") if table.number == 7]
    plan = build(tables, tier, Sources.of(tier.data, data), [seed], weights=weights)
    store = Store(paper.folder)
    store.prepare()
    for step in plan.steps.values():
        store.begin(step)
        store.finish(step, {"status": "done", "seconds": 1.0, "loss": 1.0, "iterations": 1})
    return plan.runs[0].chain[-1].id


def enter(paper, *more, miou="85.1", evidence=URL):
    return record.main(
        ["--table", "7", "--miou", miou, "--evidence", evidence, *paper.where, *more]
    )


def replicate(paper, seeds=1):
    return main(["--table", "7", *paper.where, *paper.inputs, "--seeds", str(seeds)])


def shown(paper, seeds=1):
    """The status of a run that has nothing left to do, and its table's row of ours."""
    status = replicate(paper, seeds)
    content = json.loads((paper.folder / "tables/table07.json").read_text())
    return status, next(cell for cell in content["cells"] if cell["cell"] == "deeplabv3")


def renderings(paper):
    return {
        kind: (paper.folder / f"tables/table07.{kind}").read_text()
        for kind in ("md", "csv", "json", "tex")
    }


def test_before_a_score_the_row_says_what_to_do(paper):
    status, cell = shown(paper)
    assert status == 0 and (cell["verdict"], cell["measured"]) == ("unavailable", None)
    assert "only the evaluation server can score this row; trained: " in cell["reason"]
    assert "python -m replication.submit --table 7" in cell["reason"]
    assert cell["entered"] == []


def test_a_score_is_judged_and_footnoted_everywhere(paper, capsys, sound):
    assert enter(paper, "--cell", "deeplabv3", "--date", "2024-03-01") == 0
    assert "85.1, entered by hand" in capsys.readouterr().out
    status, cell = shown(paper)
    by_hand = f"entered by hand ({URL}, 2024-03-01)"
    assert status == 0 and cell["verdict"] == "reproduced"
    assert cell["measured"] == {
        "mean": 85.1, "sd": None, "n": 1, "values": [85.1], "seeds": [0],
    }  # fmt: skip
    assert cell["reason"] == f"single seed: -0.60 against a tolerance of 1.0; {by_hand}"
    assert cell["entered"] == [{"seed": 0, "miou": 85.1, "evidence": URL, "date": "2024-03-01"}]
    files = renderings(paper)
    assert by_hand in files["csv"]
    assert "85.10 (1 seed) <sup>" in files["md"]
    assert "</sup> entered by hand (http://host.robots" in files["md"]
    assert r"85.10 (1 seed)\textsuperscript{" in files["tex"]
    assert "}~entered by hand (http://host.robots" in files["tex"]
    out = capsys.readouterr().out
    assert "85.10 (" in out and f") entered by hand ({URL[:40]}" in out.replace("\n", "")


def test_what_is_on_record(paper):
    assert enter(paper, evidence="  the server's mail,\n second of two ") == 0
    [score] = json.loads((paper.folder / "recorded.json").read_text())
    assert score["training"] == paper.training and score["seed"] == 0
    assert (score["table"], score["cell"], score["miou"]) == (7, "deeplabv3", 85.1)
    assert score["evidence"] == "the server's mail, second of two"
    assert score["date"] == datetime.date.today().isoformat()
    assert score["evaluation"]["scales"] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert score["commit"] == environment.commit()["commit"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"miou": "100.1"}, ["--miou 100.1: must be a percentage, 0 to 100"]),
        ({"miou": "-0.1"}, ["--miou -0.1: must be a percentage, 0 to 100"]),
        ({"miou": "nan"}, ["--miou nan: must be a percentage, 0 to 100"]),
        ({"evidence": " \n"}, ["--evidence: empty; give the server's URL"]),
        ({"more": ("--date", "2024-02-30")}, ["--date 2024-02-30: must be YYYY-MM-DD"]),
        ({"more": ("--date", "2999-01-01")}, ["--date 2999-01-01: lies in the future"]),
        ({"more": ("--cell", "deeplabv33")}, ['the nearest known is "deeplabv3"']),
        ({"more": ("--cell", "deeplabv3-jft")}, ["JFT-300M is not public"]),
        ({"more": ("--cell", "tusimple")}, ["another group's number"]),
        ({"more": ("--seed", "3")}, ["seed 3: not trained in", "(0 of 3 stages done)"]),
        ({"more": ("--table", "13")}, ["table13/deeplabv3 seed 0: not trained in"]),
        ({"more": ("--table", "9", "--cell", "batch4")}, ["a measured cell cannot be"]),
        ({"more": ("--tier", "smoke")}, ["measured here at the smoke tier: a measured cell cann"]),
    ],
)
def test_what_is_refused_leaves_nothing(paper, given, said, capsys):
    given = dict(given)
    assert enter(paper, *given.pop("more", ()), **given) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "Traceback" not in error
    assert all(text in error for text in said)
    assert not list(paper.root.rglob("recorded.json"))


def test_mistakes_are_told_together(paper, capsys):
    assert enter(paper, "--date", "yesterday", miou="850", evidence="") == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_score_of_a_doubtful_training_is_suspect(paper):
    """As they are, the records lack their logs: a server's number does not make up for that."""
    assert enter(paper) == 0
    status, cell = shown(paper)
    assert (status, cell["verdict"]) == (0, "suspect")
    assert "log.jsonl" in cell["reason"] and "entered by hand" in cell["reason"]


def test_a_second_score_needs_replace(paper, capsys, sound):
    assert enter(paper, "--date", "2024-03-01") == 0
    assert enter(paper, miou="86.4", evidence="again") == 2
    error = capsys.readouterr().err
    assert "85.1 was entered on 2024-03-01 (http://host" in error and "--replace" in error
    assert shown(paper)[1]["measured"]["mean"] == 85.1
    capsys.readouterr()
    assert enter(paper, "--replace", miou="86.9", evidence="again") == 0
    assert "86.9 in place of 85.1" in capsys.readouterr().out
    _, cell = shown(paper)
    assert cell["verdict"] == "above" and [one["miou"] for one in cell["entered"]] == [86.9]
    assert len(json.loads((paper.folder / "recorded.json").read_text())) == 1


def test_seeds_are_scored_one_by_one(paper, sound):
    trained(paper, paper.inputs, seed=1)
    assert enter(paper, "--date", "2024-03-01") == 0
    _, cell = shown(paper, seeds=2)
    assert cell["verdict"] == "reproduced" and "; seed 1 not scored; " in cell["reason"]
    assert "python -m replication.submit" in cell["reason"]
    assert enter(paper, "--seed", "1", "--date", "2024-03-02", miou="85.3", evidence="mail") == 0
    _, cell = shown(paper, seeds=2)
    assert cell["measured"]["values"] == [85.1, 85.3]
    by_hand = f"entered by hand: seed 0 ({URL}, 2024-03-01), seed 1 (mail, 2024-03-02)"
    assert cell["reason"].endswith(by_hand) and by_hand in renderings(paper)["csv"]


def test_a_score_of_another_training_is_named_and_not_shown(paper):
    """The same cell on a changed set: what was scored is not what the plan now trains."""
    assert enter(paper, "--date", "2024-03-01") == 0
    lists = paper.root / "voc/VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "trainval.txt").write_text("a\n")
    now = trained(paper, paper.inputs)
    assert now != paper.training
    _, cell = shown(paper)
    assert (cell["verdict"], cell["measured"], cell["entered"]) == ("unavailable", None, [])
    assert f"85.1, entered by hand ({URL}, 2024-03-01), is not shown" in cell["reason"]
    assert f"it is of {paper.training}, and the plan's training is {now}" in cell["reason"]


def test_a_score_of_another_inference_strategy_is_not_shown(paper):
    assert enter(paper) == 0
    file = paper.folder / "recorded.json"
    file.write_text(file.read_text().replace('"flip": true', '"flip": false'))
    _, cell = shown(paper)
    assert cell["measured"] is None and "of another inference strategy" in cell["reason"]


def test_two_trainings_that_differ_in_their_data_must_be_told_apart(paper, capsys):
    """Without --data any will do, if it is one; with it, that one."""
    lists = paper.root / "coco/VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "train.txt").write_text("a\n")
    now = trained(paper, paper.inputs)
    assert enter(paper) == 2
    error = capsys.readouterr().err
    assert "2 trainings in" in error and paper.training in error and now in error
    assert enter(paper, *paper.inputs) == 0
    assert [score.training for score in recorded.read(paper.folder)] == [now]


def test_data_that_are_not_the_trainings_are_not_taken_for_them(paper, capsys):
    other = make_voc(paper.root / "other", ids=("a", "b", "c"), size=(8, 8))
    for split in ("trainaug", "trainval", "test"):
        (other / f"VOC2012/ImageSets/Segmentation/{split}.txt").write_text("a\n")
    assert enter(paper, "--data", f"voc={other}") == 2
    error = capsys.readouterr().err
    # COCO's classes are read by VOC's names, which are the same here.
    assert "(1 of 3 stages done)" in error and f"--data voc={other} --data coco=PATH" in error


def test_a_failed_training_has_no_score(paper, capsys):
    file = paper.folder / "steps" / paper.training / "outcome.json"
    file.write_text('{"status": "failed", "error": "the loss became nan at iteration 17"}')
    assert enter(paper, *paper.inputs) == 2
    assert "its training failed: the loss became nan" in capsys.readouterr().err
    assert enter(paper) == 2
    assert "(2 of 3 stages done)" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[", "{}", '[{"table": 7}]'])
def test_a_damaged_file_of_scores_is_one_line(paper, capsys, content):
    (paper.folder / "recorded.json").write_text(content)
    for command in (lambda: enter(paper), lambda: replicate(paper)):
        assert command() == 2
        error = capsys.readouterr().err
        assert "recorded.json: damaged" in error and len(error.splitlines()) == 1
    assert (paper.folder / "recorded.json").read_text() == content


def score(**changes):
    fields = {
        "table": 7, "cell": "a", "seed": 0, "training": "train-1", "evaluation": {"flip": True},
        "miou": 80.0, "evidence": "mail", "date": "2024-01-01", "commit": None,
    }  # fmt: skip
    return recorded.Score(**{**fields, **changes})


def test_scores_of_other_predictions_stand_side_by_side(tmp_path):
    assert recorded.read(tmp_path) == []
    several = [score(), score(cell="b"), score(seed=1), score(training="train-2"), score(table=13)]
    for one in several:
        assert recorded.enter(tmp_path, one) is None
    assert recorded.read(tmp_path) == several
    with pytest.raises(RunError, match="table7/b seed 0: 80 was entered on 2024-01-01"):
        recorded.enter(tmp_path, score(cell="b", miou=1.0))
    assert recorded.enter(tmp_path, score(cell="b", miou=1.0), replace=True) == several[1]
    assert sorted(one.miou for one in recorded.read(tmp_path)) == [1.0, 80.0, 80.0, 80.0, 80.0]
