"""Strides and rates of a network as built, against closed forms of the paper's sentences.

A network without atrous convolution has strided to 4 * 2 ** (k - 1) pixels before block k. Held
at an output stride, what it may no longer stride it dilates: block k has the rate
4 * 2 ** (k - 1) / output stride, at least 1 (section 3.1). Multi-grid multiplies that from block4
on (section 3.2), or with the rule "replace" stands in its place; ASPP's rates, given at 16, go with
16 / output stride (section 3.3), or above 16 are kept.

`replication.network.geometry` builds networks; nothing of it is asked here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from replication.protocol import Network
from replication.rules.deviation import Deviation, some

if TYPE_CHECKING:
    from torch import nn

# ResNet's stem. A small tier's strides less on pictures as much smaller; its output strides are
# named as the paper's all the same.
STEM = 4


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """How one convolution is laid: input pixels from output to output, and from tap to tap."""

    stride: int = 1
    rate: int = 1

    def __str__(self) -> str:
        return f"rate {self.rate}" + (f" stride {self.stride}" if self.stride != 1 else "")


Layout = Mapping[str, Convolution]


def expected(
    network: Mapping[str, Any], output_stride: int, multi_grid: Sequence[int] | None = None
) -> dict[str, Convolution]:
    """Every convolution of a configured network that may stride or dilate; all others do neither.

    `network` is a recorded configuration's; `multi_grid` takes the place of its own.
    """
    network = Network.whole(network)
    grid = multi_grid or network["multi_grid"]
    last = network["last_block"]
    found = {"backbone.stem.conv": Convolution(stride=min(network["stem_stride"], 2))}
    for block in range(1, last + 1):
        count = network["units"][min(block, 4) - 1]
        nominal = STEM * 2 ** (block - 1)
        for unit in range(count):
            if network["stride_unit"] == "last":
                strides, before = unit == count - 1 and block < last, nominal
            else:
                strides, before = unit == 0 and block > 1, nominal // 2
            stride = 2 if strides and before < output_stride else 1
            kept = network["stride_unit"] == "first" and network["first_unit_rate"] == "previous"
            reached = nominal // 2 if kept and unit == 0 and block > 1 else nominal
            rate = max(1, reached // output_stride)
            if block >= 4:
                rate = grid[unit] * (rate if network["multi_grid_rule"] == "multiply" else 1)
            name = f"backbone.block{block}.{unit}"
            found[f"{name}.conv2"] = Convolution(stride=stride, rate=rate)
            found[f"{name}.downsample.0"] = Convolution(stride=stride)
    if network["head"] == "aspp":
        for branch, rate in enumerate(network["atrous_rates"], start=1):
            # Halves round up: a rate is at least 1.
            scaled = max(1, (rate * 16 * 2 + output_stride) // (2 * output_stride))
            as_at_16 = network["atrous_rates_at_32"] == "kept" and output_stride > 16
            found[f"aspp.branches.{branch}.0"] = Convolution(rate=rate if as_at_16 else scaled)
    return found


def laid(model: "nn.Module") -> dict[str, Convolution]:
    """Every convolution of a network, by name."""
    from torch import nn

    return {
        name: Convolution(stride=int(module.stride[0]), rate=int(module.dilation[0]))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    }


def to_json(layout: Layout) -> dict[str, list[int]]:
    """As a record may hold it, in geometry.json: stride and rate by name."""
    return {name: [one.stride, one.rate] for name, one in layout.items()}


def from_json(content: Mapping[str, Sequence[int]]) -> dict[str, Convolution]:
    return {name: Convolution(stride=s, rate=r) for name, (s, r) in content.items()}


def built(
    network: Mapping[str, Any],
    output_stride: int,
    *,
    first: int | None = None,
    multi_grid: Sequence[int] | None = None,
) -> dict[str, Convolution]:
    """The convolutions of the configured network as this code builds it; no memory is taken.

    With `first`, it is built at that output stride and then set to `output_stride`, as a trained
    network is for evaluation. Imports torch.
    """
    import torch

    from replication.network.deeplab import DeepLabV3

    with torch.device("meta"):
        model = DeepLabV3(Network.model_validate(network), 2, first or output_stride)
    if first is not None:
        model.set_output_stride(output_stride)
    if multi_grid is not None:
        model.backbone.set_output_stride(output_stride, multi_grid)
    return laid(model)


def geometry(found: Layout, must: Layout) -> list[Deviation]:
    """Strides and rates as they are against as they must be: one deviation a block, or for ASPP."""
    wrong = [
        (name, found[name], must.get(name, Convolution()))
        for name in found
        if found[name] != must.get(name, Convolution())
    ]
    lacking = [n for n in must if n not in found and not n.endswith("downsample.0")]
    deviations = [
        Deviation(
            value=some([f"{name} {is_}" for name, is_, _ in group], 4),
            expected=some([str(must_be) for _, _, must_be in group], 4),
        )
        for _, group in ((key, list(g)) for key, g in groupby(wrong, key=lambda one: _part(one[0])))
    ]
    if lacking:
        deviations.append(Deviation(value=f"no {some(lacking)}", expected="a convolution each"))
    return deviations


def _part(name: str) -> str:
    """aspp, backbone.block4, ..."""
    words = name.split(".")
    return ".".join(words[: 2 if words[0] == "backbone" else 1])
