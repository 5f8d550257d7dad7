"""Atrous spatial pyramid pooling with image-level features (section 3.3, Figure 5)."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.network.atrous import AtrousConv2d
from replication.network.pointwise import Pointwise, pointwise


class ConvBNReLU(nn.Sequential):
    """A convolution with batch normalisation and ReLU; `rate` dilates a 3x3 kernel."""

    def __init__(
        self, inside: int, outside: int, kernel: int, *, rate: int = 1, bn_epsilon: float
    ) -> None:
        super().__init__(
            AtrousConv2d(inside, outside, rate=rate) if kernel == 3 else Pointwise(inside, outside),
            nn.BatchNorm2d(outside, eps=bn_epsilon),
            nn.ReLU(inplace=True),
        )


class ASPP(nn.Module):
    """One 1x1 branch, a 3x3 branch for every rate, optionally image pooling; then a projection.

    Maps (N, inside, h, w) to (N, width, h, w). Dropout after the projection is left to the caller,
    who owns the randomness.
    """

    def __init__(
        self,
        inside: int,
        rates: Sequence[int],
        *,
        width: int,
        image_pooling: bool,
        bn_epsilon: float,
    ) -> None:
        super().__init__()
        branches = [ConvBNReLU(inside, width, 1, bn_epsilon=bn_epsilon)]
        branches += [
            ConvBNReLU(inside, width, 3, rate=rate, bn_epsilon=bn_epsilon) for rate in rates
        ]
        self.branches = nn.ModuleList(branches)
        self.image_pooling = (
            ConvBNReLU(inside, width, 1, bn_epsilon=bn_epsilon) if image_pooling else None
        )
        total = len(branches) + image_pooling
        self.project = ConvBNReLU(total * width, width, 1, bn_epsilon=bn_epsilon)

    def set_rates(self, rates: Sequence[int]) -> None:
        for branch, rate in zip(list(self.branches)[1:], rates, strict=True):
            cast(AtrousConv2d, cast(nn.Sequential, branch)[0]).set_geometry(rate=rate)

    def forward(self, x: Tensor) -> Tensor:
        branches = [branch(x) for branch in self.branches]
        features = joined(branches)
        if self.image_pooling is None:
            return self.project(features)
        pooled = self.image_pooling(mean(x))
        # Bilinear upsampling of a 1x1 map is a constant, and the projection is linear: what it
        # makes of the pooled features is added to every position, and they are never laid out.
        convolution, *rest = self.project
        weight, bias = cast(Pointwise, convolution).weight, cast(Pointwise, convolution).bias
        ours, pools = weight[:, : features.shape[1]], weight[:, features.shape[1] :]
        x = pointwise(features, ours).add_(pointwise(pooled, pools, bias))
        for layer in rest:
            x = layer(x)
        return x


def joined(maps: Sequence[Tensor]) -> Tensor:
    """Maps (N, C, h, w) by their channels, one after another.

    The gradients that `torch.cat` gives are slices. On a CPU bfloat16's ReLU is many times slower
    on them than on tensors of their own, which take but a copy (benchmarks/speed/same_bits.py).
    """
    if maps[0].device.type == "cpu" and maps[0].dtype == torch.bfloat16:
        y: Tensor = _Joined.apply(*maps)  # type: ignore[no-untyped-call]
        return y
    return torch.cat(list(maps), 1)


class _Joined(torch.autograd.Function):
    """Each gets its gradient as a tensor of its own."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        ctx.channels = [one.shape[1] for one in maps]
        return torch.cat(maps, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (grad,) = grads
        parts = torch.split(grad, ctx.channels, 1)
        return tuple(one.contiguous(memory_format=torch.channels_last) for one in parts)


def mean(x: Tensor) -> Tensor:
    """The mean of every map: (N, C, h, w) to (N, C, 1, 1).

    Divided after the sum: its gradient then is a view, which takes the layout of what is added to
    it. That of `Tensor.mean` is laid out channels first, and sums of both are many times slower.
    """
    return x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])


def dropout(x: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Inverted dropout with its own generator, so that a resumed run draws what it would have."""
    if probability == 0.0 or generator is None:
        return x
    n, channels, h, w = x.shape
    # Laid out as x is, channels last; of its type, since a CPU multiplies by booleans slowly.
    drawn = torch.rand((n, h, w, channels), generator=generator, device=x.device)
    keep = drawn.permute(0, 3, 1, 2).ge_(probability).to(x.dtype)
    return x * keep / (1.0 - probability)


def upsample(x: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Bilinear interpolation of (N, C, h, w) to (N, C, *size).

    On a CPU, towards a gradient, by products: the loss with its gradient is then 2.0 times as fast
    at 65 pixels, 1.8 times at 513 (benchmarks/speed/pieces.py).
    """
    if torch.are_deterministic_algorithms_enabled() if x.is_cuda else x.requires_grad:
        return upsample_by_products(x, size, align_corners=align_corners)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def upsample_by_products(x: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """The same to rounding, as a matrix product along each axis, always in single precision.

    The gradient of `F.interpolate` adds up in any order on a GPU; that of a product does not.
    """
    rows, columns = (
        _bilinear(x.shape[axis], size[axis - 2], align_corners, x.device) for axis in (2, 3)
    )
    with torch.autocast(x.device.type, enabled=False):
        return rows @ (x.float().contiguous() @ columns.T)


def _bilinear(inside: int, outside: int, align_corners: bool, device: torch.device) -> Tensor:
    """Weights (outside, inside): each output position falls between two inputs, or on one."""
    steps = torch.arange(outside, dtype=torch.float64, device=device)
    if align_corners:
        position = steps * ((inside - 1) / max(outside - 1, 1))
    else:
        position = ((steps + 0.5) * (inside / outside) - 0.5).clamp(0, inside - 1)
    grid = torch.arange(inside, dtype=torch.float64, device=device)
    return (1 - (position[:, None] - grid).abs()).clamp(min=0).float()
