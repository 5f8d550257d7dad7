"""The atrous convolution against torch's own, where weights reach the map and where they do not."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from replication.network import atrous
from replication.network.atrous import AtrousConv2d
from replication.network.geometry import reached
from replication.network.valid_weights import closed_form


def both(size, rate, stride):
    """Ours and torch's with the same weights, on the same random map."""
    generator = torch.Generator().manual_seed(0)
    ours = AtrousConv2d(5, 7)
    ours.set_geometry(rate=rate, stride=stride)
    theirs = nn.Conv2d(5, 7, 3, padding=rate, dilation=rate, stride=stride, bias=False)
    with torch.no_grad():
        theirs.weight.normal_(generator=generator)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, torch.randn(2, 5, *size, generator=generator)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rate", [1, 2, 4, 5, 6, 8, 9, 30])
@pytest.mark.parametrize("size", [(5, 5), (5, 9), (9, 5), (1, 1)])
@pytest.mark.parametrize("knows", [True, False])
def test_equals_torchs_with_its_gradients(monkeypatch, size, rate, stride, knows):
    monkeypatch.setattr(atrous, "KNOWS_DILATION", knows)
    ours, theirs, x = both(size, rate, stride)
    found = []
    for layer in (ours, theirs):
        picture = x.clone().requires_grad_()
        y = layer(picture)
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        found.append((y, picture.grad, layer.weight.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("knows", [True, False])
def test_a_wide_filters_gradient_is_computed_by_its_weights(monkeypatch, knows):
    """Where oneDNN's is slow, and nowhere else."""
    monkeypatch.setattr(atrous, "KNOWS_DILATION", knows)

    def by_taps(rate, *, stride=1, frozen=False):
        ours, _, x = both((5, 5), rate, stride)
        ours.weight.requires_grad_(not frozen)
        return "ByTaps" in type(ours(x.requires_grad_()).grad_fn).__name__

    assert [by_taps(rate) for rate in (1, 2, 3, 4, 5)] == [False, not knows, True, True, False]
    assert not by_taps(3, stride=2) and not by_taps(3, frozen=True)
    with torch.no_grad():
        ours, _, x = both((5, 5), 3, 1)
        assert not ours(x).requires_grad


@pytest.mark.parametrize("rate", [1, 2, 6, 8, 12])
@pytest.mark.parametrize("inside", [8, 2048])
def test_bfloat16_is_as_near_to_single_precision_as_torchs(inside, rate):
    """Its gradients too; what enters has few bits, so that only sums and outputs are rounded."""
    generator = torch.Generator().manual_seed(0)
    ours = AtrousConv2d(inside, 4, rate=rate)
    theirs = nn.Conv2d(inside, 4, 3, padding=rate, dilation=rate, bias=False)
    with torch.no_grad():
        theirs.weight.copy_(torch.randn(theirs.weight.shape, generator=generator).bfloat16())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, inside, 11, 11, generator=generator).bfloat16().float()
    grad = torch.randn(2, 4, 11, 11, generator=generator).bfloat16().float()

    def computed(layer, precision):
        picture = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            y = layer(picture)
        assert y.dtype == precision
        of_x, of_weight = torch.autograd.grad(y, (picture, layer.weight), grad.to(precision))
        assert of_weight.dtype == torch.float32
        return y.detach().float(), of_x, of_weight

    exact = computed(theirs, torch.float32)
    for truth, one, other in zip(
        exact, computed(ours, torch.bfloat16), computed(theirs, torch.bfloat16), strict=True
    ):
        assert (one - truth).norm() <= 1.5 * (other - truth).norm() <= 0.01 * truth.norm()


@pytest.mark.parametrize("rate", [2, 4, 8])
@pytest.mark.parametrize("inside", [17, 24, 40])
@pytest.mark.parametrize("size", [17, 33])
def test_bfloat16_learns_with_channels_that_are_no_whole_vectors(size, inside, rate):
    """Where oneDNN's gradient is NaN, another number or the end of the process, without AMX."""
    generator = torch.Generator().manual_seed(0)
    layer = AtrousConv2d(inside, 32, rate=rate)
    x = torch.randn(4, inside, size, size, generator=generator).bfloat16()
    grad = torch.randn(4, 32, size, size, generator=generator).bfloat16()
    x, grad = (each.contiguous(memory_format=torch.channels_last) for each in (x, grad))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    (learned,) = torch.autograd.grad(y, layer.weight, grad)
    truth = nn.grad.conv2d_weight(
        x.float(), layer.weight.shape, grad.float(), padding=rate, dilation=rate
    )
    assert (learned - truth).norm() <= 0.01 * truth.norm()


def test_products_fall_to_a_ninth_where_only_the_centre_reaches():
    def products(rate):
        ours, _, x = both((5, 5), rate, 1)
        with FlopCounterMode(display=False) as counter:
            ours(x)
        return counter.get_total_flops()

    assert products(4) == products(1) == 9 * products(5) == 9 * products(18)


@pytest.mark.parametrize("size", [1, 5, 33, 65])
@pytest.mark.parametrize("rate", [1, 4, 5, 18, 33, 64, 65])
def test_reached_is_figure_4s_end(size, rate):
    """One weight reaches along an axis where Figure 4's counts have all positions at one."""
    assert (reached(size, rate) == 1) == (closed_form(size, rate)[1] == size * size)


def test_weights_that_never_reach_have_a_gradient_of_zero_and_still_decay():
    ours, _, x = both((5, 5), 5, 1)
    before = ours.weight.detach().clone()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1, weight_decay=0.5, fused=True)
    ours(x).sum().backward()
    optimizer.step()
    around = torch.ones(3, 3, dtype=torch.bool)
    around[1, 1] = False
    assert (ours.weight.grad[..., around] == 0).all()
    assert torch.allclose(ours.weight[..., around], 0.95 * before[..., around])
