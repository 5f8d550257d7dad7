"""ASPP's own operations beside torch's: joined maps, means, dropout and upsampling."""

import pytest
import torch
from torch.nn import functional as F

from replication.network.aspp import dropout, joined, mean, upsample_by_products

PRECISIONS = (torch.float32, torch.bfloat16)


def maps(*channels, precision=torch.float32):
    generator = torch.Generator().manual_seed(0)
    for number in channels:
        one = torch.randn(2, number, 5, 7, generator=generator).to(precision)
        yield one.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_joined_maps_and_their_gradients_are_those_of_cat(precision):
    ours = list(maps(4, 3, 6, precision=precision))
    theirs = list(maps(4, 3, 6, precision=precision))
    whole, expected = joined(ours), torch.cat(theirs, 1)
    assert torch.equal(whole, expected)
    (weights,) = maps(13, precision=precision)
    for one in (whole, expected):
        (one * weights.detach()).relu().sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.grad, other.grad)
        if precision == torch.bfloat16:
            assert one.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_dropout_keeps_what_its_generator_says_and_scales_it(precision):
    (x,) = maps(40, precision=precision)
    y = dropout(x, 0.25, torch.Generator().manual_seed(3))
    drawn = torch.rand((2, 5, 7, 40), generator=torch.Generator().manual_seed(3))
    kept = drawn.permute(0, 3, 1, 2) >= 0.25
    assert 0.7 < kept.float().mean() < 0.8
    assert y.dtype == precision and y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, torch.where(kept, x / 0.75, 0))
    y.sum().backward()
    assert torch.equal(x.grad, (kept / 0.75).to(precision))


def test_without_a_generator_or_a_probability_nothing_is_dropped():
    (x,) = maps(4)
    assert dropout(x, 0.25, None) is x
    assert dropout(x, 0.0, torch.Generator()) is x


def test_means_of_maps_and_their_gradients_are_torchs():
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(mean(x), x.mean((2, 3), keepdim=True), rtol=1e-14)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (mean(x), x.mean((2, 3)))]
    assert torch.allclose(*grads, rtol=1e-13)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((5, 5), (33, 33)), ((33, 65), (513, 257)), ((9, 7), (5, 7)), ((1, 3), (4, 1)),
        ((6, 4), (7, 9)),
    ],
)  # fmt: skip
def test_upsampling_by_products_is_torchs(before, after, align_corners):
    """Values and gradients, larger and smaller, down to one row or column."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *before, generator=generator).to(memory_format=torch.channels_last)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = upsample_by_products(ours, after, align_corners=align_corners)
    expected = F.interpolate(theirs, after, mode="bilinear", align_corners=align_corners)
    assert torch.allclose(out, expected, atol=1e-4)
    weights = torch.randn(expected.shape, generator=generator)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    scale = theirs.grad.abs().max()
    assert torch.allclose(ours.grad / scale, theirs.grad / scale, atol=1e-4)


def test_upsampling_by_products_is_single_under_bf16():
    x = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    plain = upsample_by_products(x, (9, 9), align_corners=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(upsample_by_products(x, (9, 9), align_corners=True), plain)
