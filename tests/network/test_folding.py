"""Batch normalisation folded away: the same logits, from a network without it."""

import pytest
import torch
from torch import nn

from replication.network.deeplab import build
from replication.network.folding import folded
from tests.conftest import small_network


def trained(**network):
    """A network whose statistics, gains and shifts are no longer those of its first iteration."""
    generator = torch.Generator().manual_seed(0)
    model = build(small_network(**network), 5, 16, generator)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(generator=generator)
                layer.running_var.uniform_(0.2, 3.0, generator=generator)
                layer.weight.uniform_(-1.0, 2.0, generator=generator)
                layer.bias.normal_(generator=generator)
    return model


NETWORKS = [
    {"last_block": 7},
    {"head": "aspp", "atrous_rates": (2, 4, 30)},
    {"head": "aspp", "atrous_rates": (2, 4), "image_pooling": True, "stem_stride": 4},
]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_the_logits_are_those_of_the_network(network, output_stride):
    model = trained(**network).eval()
    model.set_output_stride(output_stride)
    x = torch.randn(2, 3, 65, 49, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs, ours = model(x), folded(model)(x)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max())


def test_no_batch_normalisation_is_left_and_the_network_keeps_its_own():
    model = trained(head="aspp", atrous_rates=(2, 4), image_pooling=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy = folded(model)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in copy.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    assert model.training and not copy.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_copy_changes_its_output_stride_as_the_network_does():
    model = trained(head="aspp", atrous_rates=(2, 4), stem_stride=4).eval()
    copy = folded(model)
    copy.set_output_stride(8)
    assert (copy.output_stride, model.output_stride) == (8, 16)
    x = torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(1))
    assert copy.coarse_logits(x).shape[2:] == (9, 9)
