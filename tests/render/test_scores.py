"""Scores worked out by hand: on a terminal, in JSON and CSV."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from replication.protocol import Evaluation
from replication.render.scores import Score, terminal, to_csv, to_json

CLASSES = ("background", "cow", "sofa", "train")
# 10 pixels of background and 10 cows; 5 cows are taken for sofas, of which there are none.
CONFUSION = np.array([[10, 0, 0, 0], [0, 5, 5, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.int64)
ABOUT = {
    "model": "mine:make",
    "weights": "w.pth",
    "weights_sha256": "0123456789abcdef",
    "account": {
        "loaded": 7,
        "missing": [],
        "unused": ["aux_classifier.0.weight"],
        "mismatched": [],
    },
    "data": {"role": "voc", "at": "DATA", "split": "val"},
    "images": 1,
    "pixels": 20,
    "crop_size": 513,
    "size_step": 1,
    "align_corners": False,
    "published": None,
}


def score(scales=(1.0,), flip=False, any_stride=False, confusion=CONFUSION):
    strategy = Evaluation(
        data="voc", split="val", output_stride=8, crop_size=513, scales=scales, flip=flip
    )
    return Score(strategy=strategy, any_stride=any_stride, confusion=confusion)


def shown(scores, about=ABOUT, notes=()):
    console = Console(file=io.StringIO(), width=100, color_system=None)
    terminal(scores, CLASSES, about, notes, console)
    return console.file.getvalue()


def line(text, start):
    [found] = [one for one in text.splitlines() if one.strip().startswith(start)]
    return found.split()


def test_numbers():
    one = score()
    assert one.per_class == [100.0, 50.0, 0.0, None]
    assert one.miou == pytest.approx(50.0) and one.pixel_accuracy == pytest.approx(75.0)
    assert one.occurring == 3


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (score(), "scale 1"),
        (score((0.5, 1.0, 1.75), flip=True, any_stride=True),
         "output stride 8, scales 0.5, 1, 1.75, left and right flipped as well"),
    ],
)  # fmt: skip
def test_a_strategy_in_words(one, words):
    assert one.words == words


def test_the_terminal_tells_absent_from_zero():
    text = shown([score()])
    assert line(text, "background") == ["background", "100.00"]
    assert line(text, "cow") == ["cow", "50.00"]
    assert line(text, "sofa") == ["sofa", "*", "0.00"]
    assert line(text, "train") == ["train", "absent"]
    assert line(text, "mean IoU") == ["mean", "IoU", "50.00"]
    assert line(text, "over classes") == ["over", "classes", "3"]
    assert line(text, "pixel accuracy") == ["pixel", "accuracy", "75.00"]
    assert "absent: in neither" in text and "*: predicted, but nowhere" in text
    assert "7 tensors loaded, 0 missing, 1 unused, 0 mismatched" in text
    assert "unused, not needed: aux_classifier.0" in text
    assert "1 images, 20 labelled pixels" in text and "a side below 513 to 513" in text
    assert "published" not in text


def test_notes_and_legends_appear_only_where_they_are_due():
    whole = np.eye(4, dtype=np.int64)
    text = shown([score(confusion=whole)], {**ABOUT, "crop_size": 0}, notes=["mind this"])
    assert "absent" not in text and "*:" not in text
    assert "whole, not padded" in text and "note      mind this" in text


def test_published_figures_say_under_which_conditions():
    published = {
        "miou": 66.4,
        "pixel_accuracy": 92.4,
        "source": "torchvision 0.27",
        "conditions": "COCO val2017",
        "same_weights": True,
    }
    text = shown([score()], {**ABOUT, "published": published})
    assert "published 66.4 mIoU and 92.4 pixel accuracy with these very weights" in text
    assert "not the same set, not comparable" in text and "torchvision 0.27" in text
    text = shown([score()], {**ABOUT, "published": {**published, "same_weights": False}})
    assert "with its own weights, not these" in text


def test_strategies_stand_side_by_side():
    text = shown([score(), score((0.5, 1.0), confusion=np.eye(4, dtype=np.int64))])
    assert "strategy  (2) scales 0.5, 1" in text
    assert line(text, "cow") == ["cow", "50.00", "100.00"]
    assert line(text, "train") == ["train", "absent", "100.00"]


def test_csv_and_json_hold_the_same_counts():
    scores = [score(), score((0.5, 1.0), confusion=CONFUSION * 2)]
    rows = list(csv.DictReader(io.StringIO(to_csv(scores, CLASSES))))
    assert [row["truth"] for row in rows] == [*CLASSES, *CLASSES]
    assert rows[1]["sofa"] == "5" and rows[2]["cow"] == "0"  # rows are the truth
    content = json.loads(to_json(scores, CLASSES, ABOUT))
    assert content["model"] == "mine:make" and content["classes"] == list(CLASSES)
    for result in content["results"]:
        own = [row for row in rows if row["strategy"] == result["strategy"]]
        assert [[int(row[name]) for name in CLASSES] for row in own] == result["confusion"]
        assert result["per_class"]["train"] is None and result["per_class"]["sofa"] == 0.0
        assert result["classes_that_occur"] == 3
    assert [one["pixels"] for one in content["results"]] == [20, 40]
