"""The 1x1 convolution beside torch's: its maps and its gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from replication.network.pointwise import Pointwise, pointwise

SHAPES = ((16, 32, 9, 9), (32, 64, 8, 13), (3, 5, 7, 4))


def maps(channels, height, width):
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(2, channels, height, width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def pair(inside, outside, stride):
    ours, theirs = Pointwise(inside, outside), nn.Conv2d(inside, outside, 1, bias=False)
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
    layer, _ = pair(16, 32, 2)
    layer.weight.requires_grad_(False)
    x = maps(16, 5, 5).bfloat16().requires_grad_()
    y = layer.bfloat16()(x)
    assert y.grad_fn.name() == "_StridedBackward"
    y.sum().backward()
    assert layer.weight.grad is None
    reached = x.grad.abs().sum((0, 1)) > 0
    assert reached.nonzero().tolist() == [[i, j] for i in (0, 2, 4) for j in (0, 2, 4)]


class Called(TorchDispatchMode):
    """The names of the operations that are asked for."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function._overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def filters(inside, outside):
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(outside, inside, 1, 1, generator=generator) / inside**0.5
    return weight, torch.randn(outside, generator=generator)


@pytest.mark.parametrize(("inside", "outside"), [(8, 32), (128, 48), (240, 13)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("biased", [True, False])
def test_where_nothing_learns_it_is_onednns_with_torchs_values(inside, outside, stride, biased):
    x, (weight, bias) = maps(inside, 9, 11), filters(inside, outside)
    bias = bias if biased else None
    with torch.no_grad(), Called() as called:
        y = pointwise(x, weight, bias, (stride, stride))
    assert "mkldnn_convolution" in called.names
    expected = F.conv2d(
        x.double(), weight.double(), bias if bias is None else bias.double(), stride
    )
    assert (y - expected).abs().max() < 1e-5
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("case", ["few positions", "double", "bf16", "gradient"])
def test_elsewhere_it_is_torchs_own_choice(case):
    side = 3 if case == "few positions" else 9
    x, (weight, _) = maps(8, side, side), filters(8, 16)
    if case == "double":
        x, weight = x.double(), weight.double()
    with (
        torch.set_grad_enabled(case == "gradient"),
        torch.autocast("cpu", torch.bfloat16, enabled=case == "bf16"),
    ):
        with Called() as called:
            y = pointwise(x, weight)
        expected = F.conv2d(x, weight)
    assert "mkldnn_convolution" not in called.names
    assert torch.equal(y, expected)
