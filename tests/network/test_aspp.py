"""ASPP's own operations beside torch's: joined maps with their gradients, and dropout."""

import pytest
import torch

from replication.network.aspp import _Joined, dropout

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
    joined, expected = _Joined.apply(*ours), torch.cat(theirs, 1)
    assert torch.equal(joined, expected)
    (weights,) = maps(13, precision=precision)
    for whole in (joined, expected):
        (whole * weights.detach()).relu().sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.grad, other.grad)
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
