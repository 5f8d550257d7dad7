"""Memory of a training against what autograd holds; what would fit, against the prediction."""

import pytest
import torch

from replication.data import feed
from replication.forecast import memory
from replication.inference import BATCH_PIXELS
from replication.network.deeplab import build
from replication.protocol import Evaluation
from replication.training import segmentation_loss, set_batch_norm
from tests.conftest import full_network, small_network, small_stage
from tests.forecast.test_counting import kept

NETWORK = small_network(head="aspp", atrous_rates=(2, 4), image_pooling=True, dropout=0.1)


def config(network=NETWORK, **changes):
    return {"network": network.config(), "stage": small_stage(**changes).config()}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_activations_are_those_that_autograd_holds(accumulate):
    stage = small_stage(batch_size=8, accumulate=accumulate)
    model = build(NETWORK, 5, stage.output_stride, torch.Generator().manual_seed(0))
    set_batch_norm(model, decay=0.9, frozen=False, gains_too=False)
    images = stage.batch_size // accumulate
    x = torch.randn(images, 3, stage.crop_size, stage.crop_size)
    labels = torch.zeros(images, stage.crop_size, stage.crop_size, dtype=torch.long)

    def loss():
        return segmentation_loss(
            model.coarse_logits(x, torch.Generator().manual_seed(0)),
            labels,
            upsample_logits=True,
            align_corners=True,
            label_grid="corners",
            normalisation="valid",
        )

    found = memory.of_training({"network": NETWORK.config(), "stage": stage.config()}, 5, "cpu")
    # Beside the network's activations: the log-probabilities, and the labels.
    loss_keeps = images * stage.crop_size**2 * (4 * 5 + 8)
    assert kept(model, loss) == pytest.approx(found.activations + loss_keeps, rel=0.02)
    own = sum(p.numel() for p in model.parameters()) * 4
    state = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert found.weights == state + 2 * own  # gradients and momentum


def test_the_papers_training_took_what_is_predicted():
    """`benchmarks.paper_size` measured 13.4 GB for Table 6's training on a CPU."""
    network = full_network(
        "resnet101", head="aspp", atrous_rates=(6, 12, 18), image_pooling=True,
        multi_grid=(1, 2, 4), dropout=0.1,
    )  # fmt: skip
    found = memory.of_training(config(network, crop_size=513, batch_size=16), 21, "cpu")
    assert found.total == pytest.approx(13.4e9, rel=0.1)


def test_the_rule_of_the_code_it_predicts():
    assert memory.RESIDENT_SHARE == feed.RESIDENT_SHARE


def test_old_weights_of_replicas_and_bf16():
    plain = memory.of_training(config(), 5, "cuda")
    parameters = (plain.weights - memory.of_training(config(replicas=4), 5, "cuda").weights) / -4
    assert parameters % 4 == 0 and plain.weights > 3 * parameters
    half = memory.of_training(config(precision="bf16"), 5, "cuda")
    assert half.activations == plain.activations / 2
    # The logits stay single.
    assert half.logits == plain.logits


def test_a_set_lies_on_the_device_only_where_it_fits():
    # 4 bytes a pixel; a quarter of the memory.
    assert memory.resident(1e9, "cuda", 16e9) == 4e9
    assert memory.resident(1.01e9, "cuda", 16e9) == 0
    assert memory.resident(1e9, "cuda", None) == memory.resident(1e9, "cpu", 16e9) == 0


def test_what_would_fit_does_and_the_next_larger_does_not():
    one = config(batch_size=16, crop_size=65)
    most = memory.of_training(config(batch_size=9, crop_size=65), 5, "cpu").total
    assert memory.fitting_batch(one, 5, "cpu", most) == 9
    assert memory.fitting_parts(one, 5, "cpu", most) == 2
    side = memory.fitting_crop(one, 5, "cpu", most)
    assert side is not None and (side - 1) % 8 == 0

    def total(crop):
        return memory.of_training(config(batch_size=16, crop_size=crop), 5, "cpu").total

    assert total(side) <= most < total(side + 8)


def test_the_line_names_them_all():
    one = config(batch_size=16, crop_size=65)
    needed = memory.of_training(one, 5, "cpu").total
    said = memory.what_would_fit(one, 5, "cpu", needed - 1)
    assert said.startswith("at batch 16, crop 65 (needs about 0.4")
    assert "a batch of 15, a crop of 57 or accumulate = 2 would fit" in said
    assert "none is chosen by itself: each changes the result" in said
    assert "no batch, crop or accumulation would fit" in memory.what_would_fit(one, 5, "cpu", 1e6)
    assert "should have fitted" in memory.what_would_fit(one, 5, "cpu", 2 * needed)


@pytest.mark.parametrize(
    ("size", "said"), [(13.4e9, "13 GB"), (9.95e9, "10 GB"), (4.56e9, "4.6 GB"), (4.5e8, "0.45 GB")]
)
def test_sizes_have_two_digits(size, said):
    assert memory.gigabytes(size) == said


def test_a_sweep_of_few_pictures_takes_what_they_take():
    """A GPU's batch would hold more of them than there are."""
    strategy = Evaluation(
        data="voc", split="val", output_stride=8, crop_size=33, scales=(1.0,), flip=False
    )
    network = {"network": NETWORK.config(), "evaluation": strategy.config()}
    few, many, more = (
        memory.of_sweep([network], 5, {(33, 33): count}, "cuda") for count in (2, 4, 10_000)
    )
    assert many.activations == 2 * few.activations and many.logits == 2 * few.logits
    at_once = BATCH_PIXELS["cuda"] // 33**2
    assert more.activations == at_once / 2 * few.activations
