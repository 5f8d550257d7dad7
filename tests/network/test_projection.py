"""The shortcut's projection beside torch's convolution: its maps and its gradients."""

import pytest
import torch
from torch import nn

from replication.network.projection import Projection

SHAPES = ((16, 32, 9, 9), (32, 64, 8, 13), (3, 5, 7, 4))


def maps(channels, height, width):
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(2, channels, height, width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def pair(inside, outside, stride):
    ours, theirs = Projection(inside, outside), nn.Conv2d(inside, outside, 1, bias=False)
    theirs.load_state_dict(ours.state_dict())
    ours.stride = theirs.stride = (stride, stride)
    return [one.to(memory_format=torch.channels_last) for one in (ours, theirs)]


def gradients(layer, x, precision):
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        y = layer(x)
    assert y.dtype == precision
    (y * maps(y.shape[1], *y.shape[2:])).sum().backward()
    return y, x.grad, layer.weight.grad


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_maps_and_gradients_are_those_of_torchs_convolution(shape, stride, precision):
    inside, outside, height, width = shape
    found, expected = (
        gradients(layer, maps(inside, height, width), precision)
        for layer in pair(inside, outside, stride)
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert one.is_contiguous(memory_format=torch.channels_last)


def test_a_frozen_filter_gets_no_gradient_and_its_input_does():
    layer, _ = pair(4, 6, 2)
    layer.weight.requires_grad_(False)
    x = maps(4, 5, 5).requires_grad_()
    layer(x).sum().backward()
    assert layer.weight.grad is None
    reached = x.grad.abs().sum((0, 1)) > 0
    assert reached.nonzero().tolist() == [[i, j] for i in (0, 2, 4) for j in (0, 2, 4)]
