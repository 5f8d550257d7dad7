"""The 3x3 atrous convolution, which costs no more than the weights that reach its feature map."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.network.geometry import reached
from replication.network.pointwise import VECTOR

# What oneDNN is slow at, on a Xeon with AMX (benchmarks/speed/pieces.py): a filter's gradient once
# twice the rate exceeds the map, or from so many channels on at rates above 1; and, forward in
# bfloat16 at such rates, more channels than so many at once.
MANY_CHANNELS = 512
AT_ONCE = 512
# Its kernel for AVX2 knows no dilation (3.11.2): it lays out what each weight reads, picture by
# picture (x64:gemm), and any dilated filter's gradient is slow.
KNOWS_DILATION = torch.backends.cpu.get_cpu_capability() != "AVX2"


class AtrousConv2d(nn.Conv2d):
    """A 3x3 convolution, padded by its rate: (N, inside, h, w) to the same size.

    It has no bias but what batch normalisation leaves when it is folded in (`network.folding`).
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
        for axis in (2, 3):
            if reached(x.shape[axis], rate) == 1:
                weight = weight.narrow(axis, 1, 1)
        if x.device.type != "cpu" or self.stride != (1, 1):
            padding = _padding(weight.shape[2:], rate)
            return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation)
        if torch.is_autocast_enabled("cpu"):
            precision = torch.get_autocast_dtype("cpu")
            x, weight = x.to(precision), weight.to(precision)
        learns = weight.requires_grad and torch.is_grad_enabled() and self.bias is None
        if learns and _learns_by_taps(x, weight.shape[2:], rate):
            y: Tensor = _ByTaps.apply(x, weight, rate)  # type: ignore[no-untyped-call]
            return y
        return _convolved(x, weight, self.bias, rate)


def _learns_by_taps(x: Tensor, kernel: Sequence[int], rate: int) -> bool:
    """Whether a filter's gradient is taken weight by weight: oneDNN's is slow, or wrong."""
    if not _dilated(kernel, rate):
        return False
    # Without AMX, its bfloat16 gradient of a dilated filter (oneDNN 3.11.2, stride 1, kernel
    # jit_bf16:avx512_core_bf16) reads past its buffers where channels are no whole vectors. With
    # 24 or 40, on maps from 29 wide, came NaN, other numbers, or the end of the process.
    if x.dtype == torch.bfloat16 and x.shape[1] % VECTOR:
        return True
    if not KNOWS_DILATION:
        return True
    sizes = [size for taps, size in zip(kernel, x.shape[2:], strict=True) if taps == 3]
    return 2 * rate > min(sizes) or x.shape[1] >= MANY_CHANNELS


def _dilated(kernel: Sequence[int], rate: int) -> bool:
    return rate > 1 and max(kernel) > 1


def _padding(kernel: Sequence[int], rate: int) -> list[int]:
    return [rate * (taps // 2) for taps in kernel]


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, rate: int) -> Tensor:
    """At stride 1, padded to the same size."""
    padding, dilated = _padding(weight.shape[2:], rate), _dilated(weight.shape[2:], rate)
    if x.dtype != torch.bfloat16 or x.shape[1] <= AT_ONCE or not dilated:
        return F.conv2d(x, weight, bias, 1, padding, rate)
    first, *rest = zip(torch.split(x, AT_ONCE, 1), torch.split(weight, AT_ONCE, 1), strict=True)
    y = F.conv2d(*first, bias, 1, padding, rate).float()
    for channels, weights in rest:
        y = y + F.conv2d(channels, weights, None, 1, padding, rate)
    return y.to(x.dtype)


class _ByTaps(torch.autograd.Function):
    """The convolution with each weight's gradient from the positions where it reaches the map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rate: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rate = rate
        return _convolved(x, weight, None, rate)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        kernel, rate = weight.shape[2:], ctx.rate
        wanted = [ctx.needs_input_grad[0], False, False]
        of_x, _, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [1, 1], _padding(kernel, rate), [rate, rate],
            False, [0, 0], 1, wanted,
        )  # fmt: skip
        return of_x, weight_gradient(x, grad, kernel, rate), None


def weight_gradient(x: Tensor, grad: Tensor, kernel: Sequence[int], rate: int) -> Tensor:
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
