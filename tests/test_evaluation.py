"""Evaluation: padding, scales, flips, sharing; against plain loops and torchmetrics."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from replication.data.batches import normalise
from replication.errors import DataError, RunError
from replication.evaluation import (
    _binned,
    _scattered,
    evaluate,
    predict,
)
from replication.inference import padded_size, passes
from replication.network.deeplab import build
from replication.protocol import Evaluation
from tests.conftest import small_network
from tests.data.test_crops import ragged_set

DATA = ragged_set([(33, 33), (20, 33), (33, 25), (33, 33), (40, 70)], seed=4)


def strategy(output_stride=16, scales=(1.0,), flip=False, **more):
    return Evaluation(
        data="voc", split="val", output_stride=output_stride, crop_size=33, scales=scales,
        flip=flip, **more,
    )  # fmt: skip


@pytest.fixture
def model():
    network = small_network(head="aspp", atrous_rates=(2, 4), image_pooling=True)
    model = build(network, 3, 16, torch.Generator().manual_seed(0)).eval()
    noise = torch.randn(4, 3, 33, 33, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # So that predictions vary: spread, and none ahead of the others from the start.
        model.classifier.weight.mul_(100)
        model.classifier.bias.sub_(model.coarse_logits(noise).mean((0, 2, 3)))
    return model.train()  # evaluation is to put it right


def by_hand(model, data, one):
    """One image, one pass at a time, straight from the paper's words."""
    model = model.eval()
    matrices = []
    for i in range(len(data)):
        h, w = data.sizes[i]
        x = normalise(torch.from_numpy(data.image(i).copy())[None])
        if one.whole_image == "resized":
            height, width, sides = h, w, (33, 33)
        else:
            sides = height, width = padded_size(h, w, one.crop_size, 8)
            x = F.pad(x, (0, width - w, 0, height - h))
        total = torch.zeros(1, 3, height, width)
        model.set_output_stride(one.output_stride)
        for scale in one.scales:
            size = tuple(int((side - 1) * scale + 1) for side in sides)
            scaled = F.interpolate(x, size, mode="bilinear", align_corners=True)
            for flipped in (False, True) if one.flip else (False,):
                given = scaled.flip(3) if flipped else scaled
                with torch.no_grad():
                    logits = model.coarse_logits(given)
                logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=True)
                total += logits.softmax(1).flip(3) if flipped else logits.softmax(1)
        oracle = MulticlassConfusionMatrix(3, ignore_index=255)
        oracle.update(total.argmax(1)[:, :h, :w], torch.from_numpy(data.mask(i).copy())[None])
        matrices.append(oracle.confmat.numpy())
    return np.stack(matrices)


TABLE_4 = [
    strategy(16),
    strategy(8),
    strategy(8, (0.5, 1.0, 1.5)),
    strategy(8, (0.5, 1.0, 1.5), flip=True),
]


RESIZED = [one.model_copy(update={"whole_image": "resized"}) for one in TABLE_4]


@pytest.mark.parametrize("one", TABLE_4 + RESIZED)
def test_each_strategy_equals_a_plain_loop(model, one):
    [counts] = evaluate(model, DATA, [one])
    expected = by_hand(model, DATA, one)
    assert counts.sum() == sum(h * w for h, w in DATA.sizes)
    assert (counts.sum((0, 1)) > 100).all(), "the predictions must vary"
    # The order of summation differs between a batch and a single image: a pixel may tip over.
    assert np.abs(counts - expected).sum() <= 4


@pytest.mark.parametrize("rows", [TABLE_4, RESIZED], ids=["padded", "resized"])
def test_a_sweep_equals_its_strategies_one_by_one(model, rows):
    together = evaluate(model, DATA, rows)
    for one, counts in zip(rows, together, strict=True):
        [alone] = evaluate(model, DATA, [one])
        assert np.array_equal(alone, counts)


def test_a_sweep_runs_each_pass_once(model):
    """Table 4's four rows need the last row's passes and the first row's one."""
    assert len(passes(TABLE_4)) == len(passes([TABLE_4[3]])) + 1
    calls = []
    forward = model.coarse_logits
    model.coarse_logits = lambda x: calls.append(x.shape) or forward(x)
    evaluate(model, ragged_set([(33, 33)] * 3), TABLE_4)
    assert len(calls) == 7


def test_an_image_of_the_crops_own_size_is_neither_padded_nor_resized(model):
    data = ragged_set([(33, 33)] * 3, seed=2)
    for padded, resized in zip(TABLE_4, RESIZED, strict=True):
        assert np.array_equal(*(evaluate(model, data, [one])[0] for one in (padded, resized)))


def test_resized_is_another_measure_of_the_same_pixels(model):
    [padded], [resized] = (evaluate(model, DATA, [rows[0]]) for rows in (TABLE_4, RESIZED))
    assert np.array_equal(padded.sum(2), resized.sum(2)), "each image's true pixels"
    assert np.abs(padded - resized).sum() > 100


def test_what_is_resized_sees_the_crop_whatever_the_images_size(model):
    seen = []
    forward = model.coarse_logits
    model.coarse_logits = lambda x: seen.append(tuple(x.shape[2:])) or forward(x)
    evaluate(model, DATA, [strategy(scales=(0.5, 1.0, 1.5), whole_image="resized")])
    assert set(seen) == {(17, 17), (33, 33), (49, 49)}


def test_void_is_left_out(model):
    data = ragged_set([(33, 33)])
    data.labels[:100] = 255
    [counts] = evaluate(model, data, [strategy()])
    assert counts.sum() == 33 * 33 - 100


def test_the_models_output_stride_is_put_back(model):
    evaluate(model, DATA, [strategy(8)])
    assert model.output_stride == 16


def test_the_cache_of_an_evaluation_does_not_change_the_model(model):
    before = {name: t.clone() for name, t in model.state_dict().items()}
    evaluate(model, DATA, TABLE_4)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_predictions_are_what_evaluation_counts(model):
    """Argmax maps in the images' own frame, counted by hand."""
    strategies = TABLE_4[:2]
    counts = evaluate(model, DATA, strategies)
    seen = []
    for batch in predict(model, DATA, strategies):
        for row, i in enumerate(batch.images):
            h, w = batch.sizes[row].tolist()
            assert (h, w) == tuple(DATA.sizes[i])
            for predicted, counted in zip(batch.by_strategy, counts, strict=True):
                one = MulticlassConfusionMatrix(3, ignore_index=255)
                truth = torch.from_numpy(DATA.mask(i).copy())
                one.update(predicted[row, :h, :w], truth)
                assert np.array_equal(one.confmat.numpy(), counted[i])
            seen.append(i)
    assert sorted(seen) == list(range(len(DATA)))


def test_a_split_without_masks_is_not_evaluated(model):
    with pytest.raises(DataError, match="has no masks"):
        evaluate(model, dataclasses.replace(DATA, labelled=False), TABLE_4[:1])


@pytest.mark.parametrize("classes", [1, 2, 13, 21, 254])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_counting_is_a_plain_loop(classes, dtype):
    """Both ways to count, that of a GPU on the CPU, pixel by pixel; some pictures are all void."""
    generator = torch.Generator().manual_seed(classes)
    for shape in ((1, 1, 1), (3, 7, 5), (4, 1, 9), (2, 16, 16)):
        masks = torch.randint(0, classes, shape, generator=generator, dtype=torch.uint8)
        predicted = torch.randint(0, classes, shape, generator=generator).to(dtype)
        masks[torch.rand(shape, generator=generator) < 0.2] = 255
        masks[-1] = 255
        expected = np.zeros((shape[0], classes, classes), np.int32)
        for (n, h, w), truth in np.ndenumerate(masks.numpy()):
            if truth != 255:
                expected[n, truth, predicted[n, h, w]] += 1
        for histogram in (_binned, _scattered):
            counted = histogram(predicted, masks, classes)
            assert counted.dtype == torch.int32 and np.array_equal(counted.numpy(), expected)


def test_a_value_beyond_the_classes_is_not_counted():
    masks = torch.tensor([[[0, 1, 2, 254, 255]], [[1, 1, 1, 3, 255]]], dtype=torch.uint8)
    predicted = torch.tensor([[[0, 1, 1, 1, 0]], [[0, 0, 1, 1, 1]]])
    assert _binned(predicted, masks, 2).tolist() == [[[1, 0], [0, 1]], [[0, 0], [2, 1]]]


def test_bf16_predicts_nearly_alike(model):
    rows = [strategy(8, (0.5, 1.0), flip=True, precision=one) for one in ("fp32", "bf16")]
    single, half = (evaluate(model, DATA, [row])[0] for row in rows)
    assert not torch.is_autocast_enabled("cpu")
    moved = np.abs(single - half).sum() / 2
    assert 0 < moved < 0.05 * single.sum()


def test_a_sweep_has_one_arithmetic(model):
    with pytest.raises(RunError, match=r'^precision = "tf32" is for GPUs'):
        evaluate(model, DATA, [strategy(precision="tf32")])
