"""The effort of whole trainings and evaluations, against torch's counter over the real loops."""

import pytest
import torch
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from replication import evaluation, training
from replication.forecast import effort
from replication.inference import BATCH_PIXELS
from replication.network import atrous
from replication.network.deeplab import build, build_classifier
from replication.protocol import Evaluation, Pretraining
from replication.training import pretrain, train
from tests.conftest import small_network, small_stage
from tests.data.test_crops import ragged_set

SIZES = [(33, 33), (20, 33), (33, 25), (33, 33), (40, 70)]
COUNTED = {(33, 33): 2, (20, 33): 1, (33, 25): 1, (40, 70): 1}
NETWORK = small_network(head="aspp", atrous_rates=(2, 4), image_pooling=True, last_block=5)


def strategy(output_stride=16, scales=(1.0,), flip=False, **more):
    return Evaluation(
        data="voc", split="val", output_stride=output_stride, crop_size=33, scales=scales,
        flip=flip, **more,
    )  # fmt: skip


def convolved(x_shape, weight_shape, *_, out_shape=None, **__):
    return conv_flop_count(x_shape, weight_shape, out_shape)


def flops(work):
    # torch counts its own convolution, not oneDNN's by name.
    by_name = {torch.ops.aten.mkldnn_convolution: convolved}
    with FlopCounterMode(display=False, custom_mapping=by_name) as counter:
        work()
    return counter.get_total_flops()


@pytest.fixture(autouse=True)
def all_products(monkeypatch):
    """Those on padding too, which a CPU leaves out of wide filters' gradients."""
    monkeypatch.setattr(atrous, "_learns_by_taps", lambda *of: False)


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"batch_norm": "frozen"}])
def test_a_training(tmp_path, changes, monkeypatch):
    # Not counted: interpolation, which is a product of matrices on a CPU alone.
    def interpolated(x, size, *, align_corners):
        return interpolate(x, size=size, mode="bilinear", align_corners=align_corners)

    monkeypatch.setattr(training, "upsample", interpolated)
    stage = small_stage(iterations=3, crop_size=25, **changes)
    model = build(NETWORK, 3, stage.output_stride, torch.Generator().manual_seed(0))
    config = {"network": NETWORK.config(), "stage": stage.config()}
    counted = effort.training(config, 3)
    found = flops(
        lambda: train(
            model, stage, ragged_set(SIZES), seed=0, folder=tmp_path, report=lambda _: None
        )
    )
    assert found == counted.flops and counted.units == 3
    assert effort.iteration(config, 3).flops == counted.flops / 3


def test_a_pretraining(tmp_path):
    from replication.data.cache import Labelled

    protocol = Pretraining(
        crop_size=33, output_stride=32, batch_size=4, iterations=2, learning_rate=0.1, power=0.9,
        momentum=0.9, weight_decay=1e-4, bn_decay=0.9, multi_grids=((1, 1, 1), (1, 2, 4)),
    )  # fmt: skip
    network = small_network()
    random = torch.Generator().manual_seed(0)
    data = Labelled(
        images=torch.randint(0, 256, (8, 33, 33, 3), generator=random, dtype=torch.uint8).numpy(),
        labels=torch.randint(0, 5, (8,), generator=random).numpy(),
        classes=tuple("abcde"),
    )
    model = build_classifier(network, 5, 32, random)
    counted = effort.training({"network": network.config(), "pretraining": protocol.config()}, 5)
    found = flops(
        lambda: pretrain(model, protocol, data, seed=0, folder=tmp_path, report=lambda _: None)
    )
    assert found == counted.flops


@pytest.mark.parametrize(
    "strategies",
    [
        [strategy()],
        [strategy(8, (0.5, 1.0, 1.75), flip=True)],
        # Half of these passes are shared.
        [strategy(16), strategy(8), strategy(8, (0.75, 1.0)), strategy(8, (0.75, 1.0), flip=True)],
        [strategy(8, (0.5, 1.0), whole_image="resized")],
    ],
)
def test_a_sweep(strategies):
    """Every pass over the padded sizes of ragged pictures, and each of them once."""
    model = build(NETWORK, 3, 16, torch.Generator().manual_seed(0))
    configs = [{"network": NETWORK.config(), "evaluation": one.config()} for one in strategies]
    counted = effort.sweep(configs, 3, COUNTED, BATCH_PIXELS["cpu"])
    assert flops(lambda: evaluation.evaluate(model, ragged_set(SIZES), strategies)) == counted.flops
    assert counted.units == 5


def test_weights_follow_the_protocol():
    """A training at output stride 8 costs more than one at 16, twice the iterations twice as much;
    a sweep less than its evaluations one by one.
    """

    def training(**changes):
        stage = small_stage(**changes)
        return effort.weight([{"network": NETWORK.config(), "stage": stage.config()}])

    assert training(output_stride=8) > training()
    assert training(iterations=12) == pytest.approx(2 * training())
    configs = [
        {"network": NETWORK.config(), "evaluation": one.config()}
        for one in (strategy(8), strategy(8, (0.5, 1.0)))
    ]
    alone = [effort.weight([one]) for one in configs]
    assert max(alone) < effort.weight(configs) < sum(alone)
