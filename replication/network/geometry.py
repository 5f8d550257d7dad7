"""Where a network strides and how far its 3x3 convolutions reach, as data.

`geometry` is the one place that decides the stride and atrous rate of every 3x3 convolution in
block1 to block7; the network is built from its result, and `python -m
replication.network.geometry` prints it. Two conventions are known:

- stride_unit="last": the paper's and TF-slim's. Every block but the last one strides in its *last*
  unit (section 3.2: "the last convolution contains stride 2 except the one in last block").
- stride_unit="first": torchvision's. Every block after block1 strides in its *first* unit. With
  first_unit_rate="previous" the unit whose stride is removed keeps the rate of the block before
  it, which is what repeats the strided network exactly; with "block" it takes its block's rate.

Once the features have reached the output stride, each further stride is replaced by doubling the
rate of what follows (section 3.1). Multi-grid multiplies the rates of the three units of block4
and later; with multi_grid_rule="replace" its unit rates are those units' rates as they stand, at
every output stride and in place of 1 too: (1, 1, 1) then leaves these blocks without dilation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from replication.arguments import Parser
from replication.protocol import MultiGridRule, RatesAt32


@dataclass(frozen=True, kw_only=True)
class Conv3x3:
    """The 3x3 convolution of one bottleneck unit; blocks and units count from 1."""

    block: int
    unit: int
    stride: int
    rate: int
    # Input pixels between two neighbouring outputs of the unit.
    output_stride: int


def reached(size: int, rate: int) -> int:
    """Along an axis of the feature map, the weights of three that ever fall on it: 3 or 1."""
    return 3 if rate < size else 1


def geometry(
    *,
    units: Sequence[int],
    last_block: int,
    multi_grid: Sequence[int],
    output_stride: int,
    stride_unit: Literal["first", "last"] = "last",
    first_unit_rate: Literal["block", "previous"] = "block",
    multi_grid_rule: MultiGridRule = "multiply",
    stem_stride: int = 4,
) -> tuple[Conv3x3, ...]:
    """Every 3x3 convolution of block1 to `last_block`, in order.

    `units` are the unit counts of block1 to block4; block5 to block7 have block4's. An
    `output_stride` below the stem's stride cannot be reached; one beyond what the blocks can
    stride to (32 for block4, 256 for block7) leaves the network without atrous convolution.

    Raises ValueError for an output stride that is no power of two times the stem's, a
    `last_block` outside 4 to 7, or a multi-grid that does not match block4's units.
    """
    if not 4 <= last_block <= 7:
        raise ValueError(f"last_block is {last_block}; it must be 4, 5, 6 or 7")
    if len(multi_grid) != units[3]:
        raise ValueError(f"multi_grid {tuple(multi_grid)} must have {units[3]} rates, one a unit")
    ratio, rest = divmod(output_stride, stem_stride)
    if rest or ratio < 1 or ratio & (ratio - 1):
        raise ValueError(
            f"output_stride is {output_stride}; it must be {stem_stride} (the stem's stride) "
            "times a power of two"
        )
    convolutions = []
    reached, rate = stem_stride, 1
    for block in range(1, last_block + 1):
        count = units[min(block, 4) - 1]
        if stride_unit == "last":
            striding_unit = count if block < last_block else None
        else:
            striding_unit = 1 if block > 1 else None
        block_rate = rate
        for unit in range(1, count + 1):
            stride, unit_rate = 1, block_rate
            if unit == striding_unit:
                if reached < output_stride:
                    stride, reached = 2, reached * 2
                else:
                    rate *= 2
                    if stride_unit == "first":
                        block_rate = rate
                        unit_rate = rate if first_unit_rate == "block" else rate // 2
            if block >= 4:
                grid = multi_grid[unit - 1]
                unit_rate = unit_rate * grid if multi_grid_rule == "multiply" else grid
            convolutions.append(
                Conv3x3(
                    block=block,
                    unit=unit,
                    stride=stride,
                    rate=unit_rate,
                    output_stride=reached,
                )
            )
    return tuple(convolutions)


def aspp_rates(
    atrous_rates: Sequence[int], output_stride: int, at_32: RatesAt32 = "halved"
) -> tuple[int, ...]:
    """ASPP's rates, given at output stride 16, at another one: doubled at 8, halved at 32.

    Halves round up (a rate is at least 1). With `at_32` "kept" they stay as they are at every
    output stride above 16. Source: section 3.3, "the rates are doubled when output stride = 8";
    for 32, TF's published configuration (3, 6, 9).
    """
    if at_32 == "kept" and output_stride > 16:
        return tuple(atrous_rates)
    return tuple(max(1, (rate * 16 + output_stride // 2) // output_stride) for rate in atrous_rates)


def describe(convolutions: Sequence[Conv3x3]) -> str:
    """One line a block: the stride its features have, and its units' rates (`/2`: strides)."""
    lines = []
    for block in sorted({conv.block for conv in convolutions}):
        inside = [conv for conv in convolutions if conv.block == block]
        rates = " ".join(f"{c.rate}{'/2' if c.stride == 2 else ''}" for c in inside)
        lines.append(f"block{block}  output stride {inside[-1].output_stride:<3}  rates {rates}")
    return "\n".join(lines)


def main() -> None:
    parser = Parser(
        prog="python -m replication.network.geometry",
        description="Print the strides and rates of a network's 3x3 convolutions.",
    )
    parser.add_argument("--backbone", choices=["resnet50", "resnet101"], default="resnet101")
    parser.add_argument("--last-block", type=int, choices=[4, 5, 6, 7], default=4)
    parser.add_argument("--multi-grid", type=int, nargs=3, default=[1, 1, 1], metavar="R")
    parser.add_argument("--output-stride", type=int, default=16)
    parser.add_argument("--stride-unit", choices=["first", "last"], default="last")
    parser.add_argument("--first-unit-rate", choices=["block", "previous"], default="block")
    parser.add_argument("--multi-grid-rule", choices=get_args(MultiGridRule), default="multiply")
    arguments = parser.parse_args()
    try:
        convolutions = geometry(
            units=(3, 4, 6 if arguments.backbone == "resnet50" else 23, 3),
            last_block=arguments.last_block,
            multi_grid=arguments.multi_grid,
            output_stride=arguments.output_stride,
            stride_unit=arguments.stride_unit,
            first_unit_rate=arguments.first_unit_rate,
            multi_grid_rule=arguments.multi_grid_rule,
        )
    except ValueError as problem:
        parser.error(str(problem))
    print(describe(convolutions))


if __name__ == "__main__":
    main()
