"""Rules on logs, splits and counts: silent on what holds, each fires on a planted fault."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from replication.data.layouts import VOC_CLASSES
from replication.metrics import iou, mean_iou
from replication.rules import evaluation, protocol, splits
from replication.schedule import poly
from tests.conftest import SHARED


def texts(deviations: list) -> str:
    return "\n".join(f"{one.value} / {one.expected}" for one in deviations)


# The log.

PROTOCOL = {"learning_rate": 0.007, "power": 0.9, "iterations": 1000}


def log(*, iterations: int = 1000, rate: float = 0.007, power: float = 0.9) -> list[dict]:
    done = range(10, iterations + 1, 10)
    return [
        {"iteration": n, "iterations": iterations,
         "learning_rate": poly(rate, n - 1, iterations, power)}
        for n in done
    ]  # fmt: skip


def test_the_right_log_is_silent() -> None:
    assert protocol.learning_rates(log(), PROTOCOL) == []
    assert protocol.iterations(log(), {"iterations": 1000}, 1000) == []


@pytest.mark.parametrize("at", [0, 50, 99])
def test_a_learning_rate_off_by_a_part_in_a_hundred_million(at) -> None:
    planted = log()
    planted[at]["learning_rate"] *= 1 + 1e-8
    [found] = protocol.learning_rates(planted, PROTOCOL)
    assert f"at iteration {10 * (at + 1):,}" in found.value


def test_another_power_or_rate() -> None:
    assert len(protocol.learning_rates(log(power=1.0), PROTOCOL)) == 3
    assert len(protocol.learning_rates(log(rate=0.0071), PROTOCOL)) == 3


def test_iterations_that_were_cut_or_repeated() -> None:
    cut = protocol.iterations(log()[:-1], {"iterations": 990}, 1000)
    assert [one.value for one in cut] == [
        "the outcome ends at iteration 990", "the log ends at iteration 990",
    ]  # fmt: skip
    twice = [*log()[:5], *log()[3:]]
    assert "repeats" in texts(protocol.iterations(twice, {"iterations": 1000}, 1000))
    said = texts(protocol.iterations(log(iterations=900), {"iterations": 900}, 1000))
    assert "counts towards 900" in said


# Splits.


def test_official_sizes_are_those_of_the_official_lists() -> None:
    folder = SHARED / "data" / "voc2012-lists"
    if not folder.is_dir():
        pytest.skip("no official lists beside this checkout")
    for path in folder.rglob("*.txt"):
        assert splits.official_size("voc", path.stem) == len(path.read_text().split()), path.name


def test_a_split_of_another_size() -> None:
    assert splits.split_size("voc", "val", 1449, comparable=True) == []
    [fault] = splits.split_size("voc", "val", 223, comparable=True)
    assert "223 images, smaller than the official split" in fault.value
    assert fault.expected == "1,449" and not fault.warning
    [warned] = splits.split_size("voc", "trainaug", 10583, comparable=False)
    assert "larger" in warned.value and warned.warning
    assert splits.split_size("coco", "train", 5, comparable=True) == []
    assert splits.official_size("cityscapes", "trainval+train_extra") == 23473


def test_an_evaluated_image_that_was_trained_on() -> None:
    assert splits.unseen(["a", "b"], ["c"], split="val", training="train-1") == []
    [found] = splits.unseen(["a", "b"], ["b", "c"], split="val", training="train-1")
    assert found.value == "train-1 trained on 1 of the 2 images of val (b)"


# Counts.


class Masks(SimpleNamespace):
    """As much of a `Pictures` as is asked for."""

    def __len__(self) -> int:
        return len(self.masks)

    def mask(self, i: int) -> np.ndarray:
        return self.masks[i]


def counted() -> tuple[np.ndarray, np.ndarray]:
    """Counts of predictions by numpy, and the masks' own: 255 is void."""
    random = np.random.default_rng(0)
    masks = [random.choice([0, 1, 2, 255], (5, 7)).astype(np.uint8) for _ in range(4)]
    counts = np.zeros((4, 3, 3), dtype=np.int32)
    for i, mask in enumerate(masks):
        predicted = random.integers(0, 3, mask.shape)
        for true, is_ in zip(mask.ravel(), predicted.ravel(), strict=True):
            if true != 255:
                counts[i, true, is_] += 1
    return counts, evaluation.truth_of(Masks(classes="abc", masks=masks))


def outcome(counts: np.ndarray) -> dict:
    total = counts.sum(0)
    return {
        "images": len(counts), "pixels": int(total.sum()), "miou": mean_iou(total),
        "per_class": dict(zip("abc", (100 * iou(total)).tolist(), strict=True)),
    }  # fmt: skip


IDS = ("w", "x", "y", "z")


def test_right_counts_are_silent() -> None:
    counts, truth = counted()
    assert evaluation.size(IDS, counts, outcome(counts)) == []
    assert evaluation.pixels(counts, outcome(counts)) == []
    assert evaluation.masks(counts, truth, IDS) == []
    assert evaluation.score(counts, outcome(counts)) == []
    absent = counts.copy()
    absent[:, 2] = absent[:, :, 2] = 0
    facts = outcome(absent)
    facts["per_class"]["c"] = None
    assert evaluation.score(absent, facts) == []


def test_sizes_that_differ() -> None:
    counts, _ = counted()
    facts = outcome(counts)
    assert "images.txt 3" in texts(evaluation.size(IDS[:3], counts, facts))
    assert "the counts 3" in texts(evaluation.size(IDS, counts[:3], facts))
    assert "the outcome 5" in texts(evaluation.size(IDS, counts, {**facts, "images": 5}))
    assert "names x twice" in texts(evaluation.size(("w", "x", "x", "z"), counts, facts))
    assert "2 classes" in texts(evaluation.size(IDS, counts[:, :2, :2], facts))


def test_a_pixel_too_many_or_too_few() -> None:
    counts, truth = counted()
    facts = outcome(counts)
    counts[2, 1, 1] += 1
    assert str(facts["pixels"] + 1) in texts(evaluation.pixels(counts, facts))
    said = texts(evaluation.masks(counts, truth, IDS))
    assert "(1 of 4 images, such as y)" in said and f"{truth.sum():,} pixels" in said


def test_a_pixel_in_another_classs_row() -> None:
    counts, truth = counted()
    counts[0, 0, 0] -= 1
    counts[0, 1, 0] += 1
    assert "in other classes' rows" in texts(evaluation.masks(counts, truth, IDS))


def test_void_counted_as_a_class() -> None:
    void = np.array([[0, 255], [255, 1]], dtype=np.uint8)
    truth = evaluation.truth_of(Masks(classes="abc", masks=[void]))
    assert truth.tolist() == [[1, 1, 0]]
    as_background = np.zeros((1, 3, 3), dtype=np.int32)
    as_background[0, 0, 0], as_background[0, 1, 1] = 3, 1
    said = texts(evaluation.masks(as_background, truth, IDS))
    assert said.startswith("4 pixels counted") and "2 pixels that are not void" in said


def test_miou_as_a_mean_over_images() -> None:
    counts, _ = counted()
    facts = outcome(counts)
    facts["miou"] = float(np.mean([mean_iou(one) for one in counts]))
    [found] = evaluation.score(counts, facts)
    assert found.value == f"mIoU {facts['miou']}"
    facts = outcome(counts)
    facts["per_class"]["b"] += 1e-6
    assert "IoU of b" in texts(evaluation.score(counts, facts))


def test_one_split_has_one_truth() -> None:
    assert evaluation.one_truth("x", {"1": "x", "2": "x"}) == []
    # The majority is right; of two, neither is known to be.
    assert evaluation.one_truth("x", {"1": "x", "2": "y"}) == []
    assert "those of 1, 2" in texts(evaluation.one_truth("y", {"1": "x", "2": "x"}))
    assert "those of 1" in texts(evaluation.one_truth("x", {"1": "y"}))


def test_the_masks_of_real_photographs(real_voc) -> None:
    """Void is what Pillow's own histogram has beyond the classes."""
    files = sorted((real_voc / "VOC2012" / "SegmentationClass").glob("*.png"))[:5]
    masks, histograms = [], []
    for file in files:
        with Image.open(file) as image:
            masks.append(np.asarray(image))
            histograms.append(image.histogram()[:21])
    truth = evaluation.truth_of(Masks(classes=VOC_CLASSES, masks=masks))
    assert truth.tolist() == histograms and truth.sum() < sum(mask.size for mask in masks)
