"""FLOPs, parameters and kept activations in closed form, against torch's own counts."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from replication.forecast import counting
from replication.forecast.counting import classification, segmentation
from replication.network.deeplab import Classifier, DeepLabV3, build
from replication.network.folding import folded
from replication.training import segmentation_loss, set_batch_norm
from tests.conftest import full_network, small_network

NETWORKS = {
    "cascade": small_network(last_block=6, multi_grid=(1, 2, 1)),
    "ASPP": small_network(
        head="aspp", atrous_rates=(2, 4), image_pooling=True, dropout=0.1, last_block=5
    ),
    "stem of stride 2": small_network(stem_stride=2, stride_unit="first"),
    "stem of stride 4": small_network(
        stem_stride=4, head="aspp", atrous_rates=(2,), image_pooling=False
    ),
}


def flops(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize("output_stride", [8, 16, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_flops_are_those_of_torchs_counter(name, output_stride):
    network = NETWORKS[name]
    model = DeepLabV3(network, 5, output_stride).to("meta")
    x = torch.zeros(3, 3, 50, 65, device="meta")
    counted = segmentation(network, 5, output_stride, 50, 65)
    assert flops(lambda: model.coarse_logits(x)) == 3 * counted.forward_flops
    assert flops(lambda: model.coarse_logits(x).sum().backward()) == 3 * counted.training_flops
    state = model.state_dict().values()
    assert counted.state_bytes == sum(t.numel() * t.element_size() for t in state)
    assert counted.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_flops_of_the_papers_networks(backbone):
    network = full_network(
        backbone, head="aspp", atrous_rates=(6, 12, 18), image_pooling=True, head_width=256
    )
    with torch.device("meta"):
        model = DeepLabV3(network, 21, 16)
        x = torch.zeros(2, 3, 513, 513)
    counted = segmentation(network, 21, 16, 513, 513)
    assert flops(lambda: model.coarse_logits(x).sum().backward()) == 2 * counted.training_flops
    assert counted.parameters == sum(p.numel() for p in model.parameters())


def test_flops_of_a_pretraining():
    network = small_network()
    model = Classifier(network, 12, 32).to("meta")
    model.backbone.set_output_stride(32, (1, 2, 4))
    x = torch.zeros(4, 3, 49, 49, device="meta")
    counted = classification(network, 12, 32, 49, (1, 2, 4))
    assert flops(lambda: model(x).sum().backward()) == 4 * counted.training_flops
    assert counted.parameters == sum(p.numel() for p in model.parameters())


def kept(model, run):
    """Bytes of the distinct tensors that autograd holds, but for the model's own."""
    own = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    held = {}

    def hold(tensor):
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    alive: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        loss = run()
    assert loss.requires_grad
    return sum(size for pointer, size in held.items() if pointer not in own)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_waits_for_the_backward_pass(name, frozen):
    """To two per cent: a few scalars and empty tensors are not counted."""
    network = NETWORKS[name]
    model = DeepLabV3(network, 5, 16)
    set_batch_norm(model, decay=0.9, frozen=frozen, gains_too=False)
    x, labels = torch.randn(4, 3, 49, 65), torch.zeros(4, 49, 65, dtype=torch.long)

    def loss():
        return segmentation_loss(
            model.coarse_logits(x, torch.Generator().manual_seed(0)),
            labels,
            upsample_logits=True,
            align_corners=True,
            label_grid="corners",
            normalisation="valid",
        )

    counted = segmentation(network, 5, 16, 49, 65).kept(4)
    # The logits at the labels' size, as log-probabilities, and the labels.
    counted += 4 * 4 * 5 * 49 * 65 + labels.numel() * 8
    assert kept(model, loss) == pytest.approx(counted, rel=0.02)


def test_one_convolution_by_hand():
    """64 filters of 3x3 over 32 channels of 10x10: 2 * 9 * 32 * 64 * 100 FLOPs."""
    layer = counting._convolution("c", 32, 64, 3, 100, 100)
    assert layer.flops == 3_686_400 and layer.parameters == 18_432
    # Forward: 3,200 values in, 6,400 out; backward: those for either gradient.
    assert layer.moved == (9_600, 19_200)


def test_an_evaluation_has_no_batch_norms():
    network = NETWORKS["ASPP"]
    counted = counting.evaluated(network, 5, 8, 65, 65)
    model = folded(build(network, 5, 8, torch.Generator().manual_seed(0)))
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    # Their biases but the classifier's come of folding, and are not counted.
    weights = sum(layer.weight.numel() for layer in convolutions)
    assert counted.parameters == weights + 5
    whole = segmentation(network, 5, 8, 65, 65)
    assert len(whole.layers) - len(counted.layers) == len(convolutions) - 1
    assert counted.forward_flops == whole.forward_flops
    (by_convolutions, by_others), (as_before, more) = (
        one.moved(backward=False, frozen=True) for one in (counted, whole)
    )
    assert by_convolutions == as_before and by_others < more


def test_by_block_adds_up():
    counted = segmentation(NETWORKS["ASPP"], 5, 16, 65, 65)
    parts = counting.by_block(counted)
    assert list(parts) == [
        "picture", "stem", "block1", "block2", "block3", "block4", "block5", "aspp", "dropout",
        "classifier",
    ]  # fmt: skip
    assert sum(f for f, _ in parts.values()) == counted.forward_flops
    assert sum(p for _, p in parts.values()) == counted.parameters
