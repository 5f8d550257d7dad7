"""ResNet with cascaded blocks and atrous convolution: block1 to block7 after a stem."""

from collections.abc import Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.network.atrous import AtrousConv2d
from replication.network.geometry import Conv3x3, geometry
from replication.network.pointwise import Pointwise
from replication.protocol import Network

EXPANSION = 4


class Unit(nn.Module):
    """A bottleneck unit: 1x1, 3x3 (stride and rate live here), 1x1, and a shortcut.

    Parameter names are torchvision's. Where a unit strides without changing its depth, the
    shortcut is subsampled, as in TF-slim; where the depth changes it is a projection.
    """

    def __init__(self, inside: int, width: int, *, bn_epsilon: float) -> None:
        super().__init__()
        outside = width * EXPANSION
        self.conv1 = Pointwise(inside, width)
        self.bn1 = nn.BatchNorm2d(width, eps=bn_epsilon)
        self.conv2 = AtrousConv2d(width, width)
        self.bn2 = nn.BatchNorm2d(width, eps=bn_epsilon)
        self.conv3 = Pointwise(width, outside)
        self.bn3 = nn.BatchNorm2d(outside, eps=bn_epsilon)
        self.downsample: nn.Sequential | None = None
        if inside != outside:
            self.downsample = nn.Sequential(
                Pointwise(inside, outside), nn.BatchNorm2d(outside, eps=bn_epsilon)
            )

    def set_geometry(self, conv: Conv3x3) -> None:
        self.conv2.set_geometry(rate=conv.rate, stride=conv.stride)
        if self.downsample is not None:
            projection = cast(Pointwise, self.downsample[0])
            projection.stride = (conv.stride, conv.stride)

    def forward(self, x: Tensor) -> Tensor:
        stride = self.conv2.stride[0]
        if self.downsample is not None:
            shortcut = self.downsample(x)
        else:
            shortcut = x if stride == 1 else subsampled(x, stride)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        # In place: batch normalisation keeps its input for the gradient, not what it gave.
        return F.relu(self.bn3(self.conv3(y)).add_(shortcut), inplace=True)


def subsampled(x: Tensor, stride: int) -> Tensor:
    """Every `stride`-th position, sliced with the channels last: so is the gradient laid out."""
    return x.permute(0, 2, 3, 1)[:, ::stride, ::stride].permute(0, 3, 1, 2)


class Stem(nn.Module):
    """The layers before block1. At stride 4 they are ResNet's: 7x7 stride 2, then max pooling.

    The smaller stems belong to the small tiers: with an input a quarter or half as wide, every
    feature map after the stem keeps the size that the paper's geometry gives it.
    """

    def __init__(self, width: int, stride: int, *, bn_epsilon: float) -> None:
        super().__init__()
        kernel = {4: 7, 2: 5, 1: 3}[stride]
        self.conv = nn.Conv2d(
            3, width, kernel, stride=min(stride, 2), padding=kernel // 2, bias=False
        )
        self.bn = nn.BatchNorm2d(width, eps=bn_epsilon)
        self.pool: nn.Module = nn.Identity()
        if stride == 4:
            self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(F.relu(self.bn(self.conv(x)), inplace=True))


class ResNet(nn.Module):
    """Stem and block1 to `network.last_block`; maps (N, 3, H, W) to features (N, C, h, w).

    The output stride is no part of the weights: `set_output_stride` changes the strides and rates
    of the same weights (section 4.1: "atrous convolution allows us to control output stride value
    at different training stages without requiring learning extra model parameters").
    """

    def __init__(self, network: Network, output_stride: int) -> None:
        super().__init__()
        self.network = network
        epsilon = network.bn_epsilon
        self.stem = Stem(network.stem_width, network.stem_stride, bn_epsilon=epsilon)
        inside = network.stem_width
        for block in range(1, network.last_block + 1):
            width = network.widths[min(block, 4) - 1]
            units = []
            for _ in range(network.units[min(block, 4) - 1]):
                units.append(Unit(inside, width, bn_epsilon=epsilon))
                inside = width * EXPANSION
            self.add_module(f"block{block}", nn.Sequential(*units))
        self.out_channels = inside
        self.set_output_stride(output_stride)

    def blocks(self) -> list[nn.Sequential]:
        names = [f"block{block}" for block in range(1, self.network.last_block + 1)]
        return [cast(nn.Sequential, self.get_submodule(name)) for name in names]

    def set_output_stride(
        self, output_stride: int, multi_grid: Sequence[int] | None = None
    ) -> None:
        """Rebuild strides and rates; `multi_grid` defaults to the network's own."""
        self.output_stride = output_stride
        self.geometry = geometry(
            units=self.network.units,
            last_block=self.network.last_block,
            multi_grid=multi_grid or self.network.multi_grid,
            output_stride=output_stride,
            stride_unit=self.network.stride_unit,
            first_unit_rate=self.network.first_unit_rate,
            multi_grid_rule=self.network.multi_grid_rule,
        )
        by_block = groupby(self.geometry, key=lambda conv: conv.block)
        for units, (_, convolutions) in zip(self.blocks(), by_block, strict=True):
            for unit, conv in zip(units, convolutions, strict=True):
                cast(Unit, unit).set_geometry(conv)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks():
            x = block(x)
        return x


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He-normal convolutions, unit BN; every draw comes from `generator`."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            layer.weight.normal_(0.0, (2.0 / fan_out) ** 0.5, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.reset_parameters()
