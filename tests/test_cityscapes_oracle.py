"""Our mIoU on Cityscapes against the official evaluator's, on the same predictions.

Both read one tree in the official layout: the evaluator the `labelIds`, we the `labelTrainIds` that
our conversion made of them; predictions are handed to the evaluator as label ids, as to the server.
"""

import contextlib
import copy
import io
import warnings

import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import args as official_args
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import evaluateImgLists
from PIL import Image
from rich.console import Console

from replication.data import cache, layouts
from replication.data.cityscapes_labels import LABELS, to_label_ids
from replication.data.layouts import CITYSCAPES_CLASSES, IGNORE_INDEX
from replication.data.prepare.cityscapes import convert
from replication.evaluation import count
from replication.metrics import iou, mean_iou
from tests.conftest import SHARED

SIZE = (24, 40)
FRAMES = ("frankfurt_000000_000294", "frankfurt_000001_000019", "munster_000000_000019")
CLASSES = len(CITYSCAPES_CLASSES)
VOID = [label.id for label in LABELS if label.train_id == IGNORE_INDEX]
SCORED = [label.id for label in LABELS if 0 <= label.train_id < IGNORE_INDEX]


def write_tree(root, masks):
    """An official-layout val split of label-id masks by frame, with our train ids beside."""
    for frame, label_ids in masks.items():
        city = frame.split("_")[0]
        for kind in ("leftImg8bit", "gtFine"):
            (root / kind / "val" / city).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", label_ids.shape[::-1]).save(
            root / f"leftImg8bit/val/{city}/{frame}_leftImg8bit.png"
        )
        Image.fromarray(label_ids).save(root / f"gtFine/val/{city}/{frame}_gtFine_labelIds.png")
    convert(root / "gtFine/val", Console(quiet=True))
    return root


def official(root, predictions):
    """The evaluator's result for predictions in train ids by frame.

    It is told to keep quiet and to write no file. Its instance-level score is another metric, and
    its code for that needs `np.in1d`, which NumPy 2.4 has no longer.
    """
    args = copy.copy(official_args)
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    (root / "results").mkdir()
    truths, predicted = [], []
    for frame, train_ids in predictions.items():
        path = root / f"results/{frame}_pred.png"
        Image.fromarray(to_label_ids(train_ids)).save(path)
        predicted.append(str(path))
        city = frame.split("_")[0]
        truths.append(str(root / f"gtFine/val/{city}/{frame}_gtFine_labelIds.png"))
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluateImgLists(predicted, truths, args)


def ours(root, predictions, cache_folder):
    """Our confusion counts (19, 19) of the same predictions, as an evaluation counts them."""
    data = cache.decode(layouts.listing("cityscapes", root, "val"), cache_folder)
    total = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    for i, frame in enumerate(data.ids):
        predicted = torch.from_numpy(predictions[frame].astype(np.int64))[None]
        mask = torch.from_numpy(np.array(data.mask(i)))[None]
        total += count(predicted, mask, CLASSES)[0].numpy()
    return total


def assert_equal_scores(root, predictions, tmp_path):
    result = official(root, predictions)
    confusion = ours(root, predictions, tmp_path / "cache")
    theirs = np.array(result["confMatrix"])[np.ix_(SCORED, SCORED)]
    assert np.array_equal(confusion, theirs)
    per_class = [result["classScores"][name] for name in CITYSCAPES_CLASSES]
    np.testing.assert_array_equal(iou(confusion), per_class)  # NaN where theirs is NaN
    assert mean_iou(confusion) == pytest.approx(100 * result["averageScoreClasses"], rel=1e-12)
    return iou(confusion)


def random_masks(random, values):
    return {frame: random.choice(values, SIZE).astype(np.uint8) for frame in FRAMES}


def test_random_predictions_with_void_everywhere(tmp_path):
    random = np.random.default_rng(0)
    root = write_tree(tmp_path, random_masks(random, np.arange(34)))
    scores = assert_equal_scores(root, random_masks(random, np.arange(CLASSES)), tmp_path)
    assert 0 < np.nanmean(scores) < 0.1 and not np.isnan(scores).any()


def test_mostly_right_predictions(tmp_path):
    random = np.random.default_rng(1)
    masks = random_masks(random, np.array([*VOID, *SCORED * 3]))
    root = write_tree(tmp_path, masks)
    data = cache.decode(layouts.listing("cityscapes", root, "val"), tmp_path / "cache")
    predictions = random_masks(random, np.arange(CLASSES))
    for i, frame in enumerate(data.ids):
        right = (data.mask(i) != IGNORE_INDEX) & (random.random(SIZE) < 0.8)
        predictions[frame][right] = data.mask(i)[right]
    scores = assert_equal_scores(root, predictions, tmp_path)
    assert 0.5 < np.nanmean(scores) < 0.9


def test_absent_classes_count_only_if_something_is_predicted_as_them(tmp_path):
    """Road and car are true. Sky is predicted on road: it counts, with 0. Bus is predicted on void
    only and the others nowhere: they do not count.
    """
    random = np.random.default_rng(2)
    road, car, sky, bus = (CITYSCAPES_CLASSES.index(n) for n in ("road", "car", "sky", "bus"))
    masks = random_masks(random, np.array([4, 7, 26]))
    root = write_tree(tmp_path, masks)
    predictions = random_masks(random, np.array([road, car, sky]))
    for frame, label_ids in masks.items():
        predictions[frame][label_ids == 4] = bus
    scores = assert_equal_scores(root, predictions, tmp_path)
    assert scores[sky] == 0.0 and np.isnan(scores[bus])
    assert np.flatnonzero(~np.isnan(scores)).tolist() == sorted([road, car, sky])


def test_perfect_predictions(tmp_path):
    random = np.random.default_rng(3)
    root = write_tree(tmp_path, random_masks(random, np.array(SCORED)))
    data = cache.decode(layouts.listing("cityscapes", root, "val"), tmp_path / "cache")
    predictions = {frame: np.array(data.mask(i)) for i, frame in enumerate(data.ids)}
    assert (assert_equal_scores(root, predictions, tmp_path) == 1.0).all()


def test_void_alone_has_no_score(tmp_path):
    random = np.random.default_rng(4)
    root = write_tree(tmp_path, random_masks(random, np.array(VOID)))
    predictions = random_masks(random, np.arange(CLASSES))
    assert np.isnan(official(root, predictions)["averageScoreClasses"])
    confusion = ours(root, predictions, tmp_path / "cache")
    assert confusion.sum() == 0 and np.isnan(iou(confusion)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Mean of empty slice": there is none.
        assert np.isnan(mean_iou(confusion))


def test_a_real_frame(tmp_path):
    """A real mask, predicted as itself shifted by five pixels with void filled as road."""
    sample = SHARED / "data/cityscapes-sample/gtFine/frankfurt_000000_000294_gtFine_labelIds.png"
    if not sample.is_file():
        pytest.skip("no real Cityscapes frame beside this checkout")
    with Image.open(sample) as file:
        label_ids = np.array(file)
    root = write_tree(tmp_path, {FRAMES[0]: label_ids})
    data = cache.decode(layouts.listing("cityscapes", root, "val"), tmp_path / "cache")
    shifted = np.roll(data.mask(0), 5, axis=1)
    predictions = {FRAMES[0]: np.where(shifted == IGNORE_INDEX, 0, shifted).astype(np.uint8)}
    scores = assert_equal_scores(root, predictions, tmp_path)
    assert 0.3 < np.nanmean(scores) < 0.9 and np.isnan(scores).any()
