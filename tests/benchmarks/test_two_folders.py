"""Two results folders, read cell by cell: hand-made tables and records."""

import json

import pytest

from benchmarks import tables


def folder(path, cells, seconds):
    """A tier's folder: {cell: ({seed: mIoU}, training, evaluation)}, a seed's steps named by it."""
    rows = []
    for cell, (miou, training, evaluation) in cells.items():
        found = {"seeds": list(miou), "values": list(miou.values())} if miou else None
        steps = {
            "training": [["pretrain-0", f"{training}-{s}"] for s in miou],
            "evaluation": [f"{evaluation}-{s}" for s in miou],
        }
        rows.append({"cell": cell, "measured": found, **steps})
        for seed in miou:
            for id_, parent in (
                ("pretrain-0", None),
                (f"{training}-{seed}", "pretrain-0"),
                (f"{evaluation}-{seed}", f"{training}-{seed}"),
            ):
                step = path / "steps" / id_
                step.mkdir(parents=True, exist_ok=True)
                kind = "evaluate" if id_.startswith("evaluate") else "train"
                (step / "config.json").write_text(json.dumps({"kind": kind, "parent": parent}))
                (step / "outcome.json").write_text(json.dumps({"seconds": seconds}))
    (path / "tables").mkdir()
    (path / "tables" / "table05.json").write_text(json.dumps({"table": 5, "cells": rows}))
    return str(path)


@pytest.fixture
def old(tmp_path):
    (tmp_path / "old").mkdir()
    return folder(
        tmp_path / "old",
        {
            "a": ({0: 50.0, 1: 60.0}, "train-a", "evaluate-a"),
            "b": ({0: 40.0, 1: 40.0}, "train-a", "evaluate-b"),
            "c": ({0: 70.0}, "train-c", "evaluate-c"),
            "gone": ({0: 1.0}, "train-d", "evaluate-d"),
        },
        seconds=4.0,
    )


@pytest.fixture
def new(tmp_path):
    (tmp_path / "new").mkdir()
    return folder(
        tmp_path / "new",
        {
            "a": ({0: 51.0, 1: 63.0}, "train-x", "evaluate-x"),
            "b": ({0: 43.0, 1: 40.0}, "train-x", "evaluate-y"),
            "c": ({0: 69.0, 1: 99.0}, "train-z", "evaluate-z"),
            "none": ({}, "train-n", "evaluate-n"),
        },
        seconds=2.0,
    )


def test_cells_are_compared_over_the_seeds_that_both_have(old, new, capsys):
    assert tables.main([old, new]) == 0
    text = capsys.readouterr().out
    # a: +1 and +3; b: +3 and 0; c: -1, under seed 0 alone.
    assert "table 5: mean +0.83 (a +2.0, b +1.5, c -1.0)" in text
    assert "3 different evaluations: mean +0.83, median +1.50, of -1.00 to +2.00, 1 of" in text
    # A pretraining, two seeds of a's training, c's; a's and b's evaluations are one sweep a seed.
    assert "their jobs took 28 and 14 s: OLD 2.00 times NEW" in text


def test_the_first_seeds_alone(old, new, capsys):
    assert tables.main([old, new, "--seeds", "1"]) == 0
    assert "table 5: mean +1.00 (a +1.0, b +3.0, c -1.0)" in capsys.readouterr().out


def test_equal_cells_of_one_training_count_once(tmp_path, capsys):
    (tmp_path / "same").mkdir()
    same = folder(
        tmp_path / "same",
        {name: ({0: 52.0}, "train-x", "evaluate-x") for name in ("a", "b")},
        seconds=2.0,
    )
    assert tables.main([same, same]) == 0
    assert "1 different evaluations: mean +0.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["{old}", "nowhere"], "nowhere: has no tables/*.json; give a tier's results folder"),
        (["{old}", "{new}", "--table", "4"], "no cell is measured in both"),
        (["{old}", "{new}", "--seeds", "0"], "--seeds 0: must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_one_line(old, new, given, said, capsys):
    assert tables.main([word.format(old=old, new=new) for word in given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
