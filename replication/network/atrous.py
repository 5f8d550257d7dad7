"""The 3x3 atrous convolution, which costs no more than the weights that reach its feature map."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.network.geometry import reached


class AtrousConv2d(nn.Conv2d):
    """A 3x3 convolution, padded by its rate: (N, inside, h, w) to the same size. It has no bias
    but what batch normalisation leaves when it is folded in (`network.folding`).

    At a rate of the map's size or more, all its weights but the centre's fall on padding, wherever
    it is applied: "the 3x3 filter ... degenerates to a simple 1x1 filter" (section 3.3, Figure 4).
    It is then computed as one. The other weights get the gradient that they always had: zero.
    """

    def __init__(self, inside: int, outside: int, *, rate: int = 1) -> None:
        super().__init__(inside, outside, 3, padding=rate, dilation=rate, bias=False)

    def set_geometry(self, *, rate: int, stride: int = 1) -> None:
        self.stride = (stride, stride)
        self.dilation = self.padding = (rate, rate)

    def forward(self, x: Tensor) -> Tensor:
        rate, weight = self.dilation[0], self.weight
        padding = [rate, rate]
        for axis in (0, 1):
            if reached(x.shape[2 + axis], rate) == 1:
                weight = weight.narrow(2 + axis, 1, 1)
                padding[axis] = 0
        if self._by_taps(x, weight):
            y: Tensor = _ByTaps.apply(x, weight, rate)  # type: ignore[no-untyped-call]
            return y
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation)

    def _by_taps(self, x: Tensor, weight: Tensor) -> bool:
        """Whether the filter's gradient is wanted, and a CPU computes it faster weight by weight.

        oneDNN's takes 3 to 5 times as long once twice the rate exceeds the map; what goes forward,
        and the gradient of `x`, do not (both gradients: benchmarks/speed/pieces.py).
        """
        wide = any(
            taps == 3 and 2 * self.dilation[0] > size
            for taps, size in zip(weight.shape[2:], x.shape[2:], strict=True)
        )
        return (
            wide
            and x.device.type == "cpu"
            and self.stride == (1, 1)
            and self.bias is None
            and weight.requires_grad
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        )


class _ByTaps(torch.autograd.Function):
    """The convolution with each weight's gradient from the positions where it reaches the map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rate: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rate = rate
        padding = [rate * (taps // 2) for taps in weight.shape[2:]]
        return F.conv2d(x, weight, None, 1, padding, rate)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        rates, padding = [ctx.rate] * 2, [ctx.rate * (taps // 2) for taps in weight.shape[2:]]
        wanted = [ctx.needs_input_grad[0], False, False]
        of_x, _, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [1, 1], padding, rates, False, [0, 0], 1, wanted
        )
        return of_x, weight_gradient(x, grad, weight.shape[2:], ctx.rate), None


def weight_gradient(x: Tensor, grad: Tensor, kernel: tuple[int, int], rate: int) -> Tensor:
    """The gradient (outside, inside, *kernel) of a filter of 1 or 3 weights an axis.

    `x` (N, inside, h, w) is what it was applied to and `grad` (N, outside, h, w) the gradient of
    what it gave: one matrix product a weight, over the positions that it takes to each other.
    """
    inside, outside = x.shape[1], grad.shape[1]
    x, grad = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    height, width = x.shape[1:3]
    products = [
        grad[:, to_row, to_column].reshape(-1, outside).T
        @ x[:, from_row, from_column].reshape(-1, inside)
        for (from_row, to_row), (from_column, to_column) in product(
            _reaches(height, kernel[0], rate), _reaches(width, kernel[1], rate)
        )
    ]
    return torch.stack(products, 1).view(outside, *kernel, inside).permute(0, 3, 1, 2)


def _reaches(size: int, taps: int, rate: int) -> Iterator[tuple[slice, slice]]:
    """Along an axis, for every weight, the positions that it reads and those that it writes."""
    for tap in range(taps):
        shift = (tap - taps // 2) * rate
        first, last = max(0, -shift), size - max(0, shift)
        yield slice(first + shift, last + shift), slice(first, last)
