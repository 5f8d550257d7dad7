"""mIoU against a hand-worked case and torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from replication.evaluation import count
from replication.metrics import iou, mean_iou


def test_hand_worked():
    # Truth 4 background (3 found), 2 cats (1 found); one background pixel called cat, one cat
    # called background: IoU 3/5 and 1/3.
    confusion = np.array([[3, 1], [1, 1]])
    assert iou(confusion).tolist() == pytest.approx([3 / 5, 1 / 3])
    assert mean_iou(confusion) == pytest.approx(100 * (3 / 5 + 1 / 3) / 2)


def test_a_class_that_is_nowhere_does_not_count():
    confusion = np.array([[3, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert np.isnan(iou(confusion)[2])
    assert mean_iou(confusion) == pytest.approx(100 * (3 / 5 + 1 / 3) / 2)


def test_a_class_only_predicted_counts_as_zero():
    assert mean_iou(np.array([[3, 1], [0, 0]])) == pytest.approx(100 * 0.75 / 2)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_torchmetrics(seed):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 6, (3, 20, 30), generator=generator)
    guess = torch.where(
        torch.rand(truth.shape, generator=generator) < 0.6,
        truth,
        torch.randint(0, 6, truth.shape, generator=generator),
    )
    truth[torch.rand(truth.shape, generator=generator) < 0.1] = 255
    oracle = MulticlassJaccardIndex(6, average="none", ignore_index=255)
    # In float64: torchmetrics divides in float32 by default.
    oracle = oracle.set_dtype(torch.float64)
    oracle.update(guess, truth)
    counts = count(guess, truth, 6).numpy()
    assert counts.shape == (3, 6, 6)
    expected = oracle.confmat.double()
    assert np.array_equal(counts.sum(0), expected.numpy())
    union = expected.sum(0) + expected.sum(1) - expected.diag()
    assert abs(iou(counts.sum(0)) - (expected.diag() / union).numpy()).max() < 1e-9
    assert mean_iou(counts.sum(0)) == pytest.approx(100 * oracle.compute().mean().item(), abs=1e-4)


def test_one_matrix_over_the_set_is_not_the_mean_over_images():
    """The usual error in reproductions, and how far off it is here."""
    one = np.array([[90, 0], [9, 1]])
    two = np.array([[0, 0], [0, 100]])
    over_set = mean_iou(one + two)
    over_images = (mean_iou(one) + mean_iou(two)) / 2
    assert over_set == pytest.approx(100 * (90 / 99 + 101 / 110) / 2)
    assert abs(over_set - over_images) > 10
