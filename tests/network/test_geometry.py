"""Strides and rates against hand-worked tables."""

import pytest

from replication.network.geometry import aspp_rates, describe, geometry, main

RESNET50 = (3, 4, 6, 3)
RESNET101 = (3, 4, 23, 3)


def rates(convolutions, block):
    return [conv.rate for conv in convolutions if conv.block == block]


def strided(convolutions):
    return [(conv.block, conv.unit) for conv in convolutions if conv.stride == 2]


# Table 1: ResNet-50 with block7. Worked by hand: the stem strides by 4; block1 to block6 may
# stride in their last unit until the output stride is reached; each later block doubles the rate.
@pytest.mark.parametrize(
    ("output_stride", "striding_blocks", "rates_of_block_1_to_7"),
    [
        (8, [1], [1, 1, 2, 4, 8, 16, 32]),
        (16, [1, 2], [1, 1, 1, 2, 4, 8, 16]),
        (32, [1, 2, 3], [1, 1, 1, 1, 2, 4, 8]),
        (64, [1, 2, 3, 4], [1, 1, 1, 1, 1, 2, 4]),
        (128, [1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1, 2]),
        (256, [1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_table_1_strides_and_rates(output_stride, striding_blocks, rates_of_block_1_to_7):
    result = geometry(
        units=RESNET50, last_block=7, multi_grid=(1, 1, 1), output_stride=output_stride
    )
    last_units = {1: 3, 2: 4, 3: 6, 4: 3, 5: 3, 6: 3}
    assert strided(result) == [(block, last_units[block]) for block in striding_blocks]
    assert [set(rates(result, block)) for block in range(1, 8)] == [
        {rate} for rate in rates_of_block_1_to_7
    ]
    assert result[-1].output_stride == output_stride


# Table 3's corners at output stride 16: the unit rates times 2, 4, 8, 16 (section 3.2).
@pytest.mark.parametrize(
    ("last_block", "multi_grid", "expected"),
    [
        (4, (1, 1, 1), {4: [2, 2, 2]}),
        (4, (1, 2, 4), {4: [2, 4, 8]}),
        (7, (1, 1, 1), {4: [2, 2, 2], 5: [4, 4, 4], 6: [8, 8, 8], 7: [16, 16, 16]}),
        (7, (2, 2, 2), {4: [4, 4, 4], 5: [8, 8, 8], 6: [16, 16, 16], 7: [32, 32, 32]}),
        (7, (1, 2, 1), {4: [2, 4, 2], 5: [4, 8, 4], 6: [8, 16, 8], 7: [16, 32, 16]}),
    ],
)
def test_table_3_corners(last_block, multi_grid, expected):
    result = geometry(
        units=RESNET101, last_block=last_block, multi_grid=multi_grid, output_stride=16
    )
    assert {block: rates(result, block) for block in range(4, last_block + 1)} == expected


# MMSegmentation's DeepLabv3 with "MG124": really (1, 2, 4), whatever the block's rate and unit.
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(
    ("stride_unit", "first_unit_rate"),
    [("last", "block"), ("first", "block"), ("first", "previous")],
)
def test_multi_grid_may_replace_the_rate(output_stride, stride_unit, first_unit_rate):
    result = geometry(
        units=RESNET50,
        last_block=5,
        multi_grid=(1, 2, 4),
        output_stride=output_stride,
        stride_unit=stride_unit,
        first_unit_rate=first_unit_rate,
        multi_grid_rule="replace",
    )
    assert rates(result, 4) == rates(result, 5) == [1, 2, 4]
    # block3 has no unit rates: 2 at output stride 8, where the stride before or in it is gone.
    third = {8: [2] * 6, 16: [1] * 6, 32: [1] * 6}[output_stride]
    if first_unit_rate == "previous":
        third[0] = 1
    assert rates(result, 3) == third


def test_unit_rates_of_one_replace_too():
    """Block4 to block7 are then left without dilation, which no paper's table means."""
    result = geometry(
        units=RESNET50,
        last_block=7,
        multi_grid=(1, 1, 1),
        output_stride=16,
        multi_grid_rule="replace",
    )
    assert {conv.rate for conv in result} == {1} and result[-1].output_stride == 16


def test_first_unit_convention_is_torchvisions():
    result = geometry(
        units=RESNET50,
        last_block=4,
        multi_grid=(1, 1, 1),
        output_stride=8,
        stride_unit="first",
        first_unit_rate="previous",
    )
    # torchvision's resnet50(replace_stride_with_dilation=[False, True, True]).
    assert strided(result) == [(2, 1)]
    assert rates(result, 3) == [1, 2, 2, 2, 2, 2]
    assert rates(result, 4) == [2, 4, 4]


def test_first_unit_may_take_its_blocks_rate():
    result = geometry(
        units=RESNET50,
        last_block=4,
        multi_grid=(1, 1, 1),
        output_stride=8,
        stride_unit="first",
        first_unit_rate="block",
    )
    assert rates(result, 3) == [2] * 6
    assert rates(result, 4) == [4, 4, 4]


def test_a_network_cannot_stride_beyond_its_blocks():
    result = geometry(units=RESNET50, last_block=4, multi_grid=(1, 1, 1), output_stride=256)
    assert result[-1].output_stride == 32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"output_stride": 24}, "24"),
        ({"output_stride": 2}, "2"),
        ({"last_block": 8}, "8"),
        ({"multi_grid": (1, 2)}, r"\(1, 2\)"),
    ],
)
def test_bad_input_is_named(changes, said):
    arguments = {
        "units": RESNET50, "last_block": 4, "multi_grid": (1, 1, 1), "output_stride": 16
    }  # fmt: skip
    with pytest.raises(ValueError, match=said):
        geometry(**{**arguments, **changes})


def test_aspp_rates_follow_the_output_stride():
    assert aspp_rates((6, 12, 18), 16) == (6, 12, 18)
    assert aspp_rates((6, 12, 18), 8) == (12, 24, 36)
    assert aspp_rates((6, 12, 18), 32) == (3, 6, 9)
    assert aspp_rates((6, 12, 18), 4) == (24, 48, 72)
    assert aspp_rates((1,), 256) == (1,)


def test_aspp_rates_may_be_kept_above_16():
    for output_stride in (32, 64, 256):
        assert aspp_rates((6, 12, 18), output_stride, "kept") == (6, 12, 18)
    assert aspp_rates((6, 12, 18), 64) == (2, 3, 5)
    assert aspp_rates((6, 12, 18), 16, "kept") == (6, 12, 18)
    assert aspp_rates((6, 12, 18), 8, "kept") == (12, 24, 36)


def test_description_names_every_block():
    text = describe(geometry(units=RESNET50, last_block=5, multi_grid=(1, 2, 4), output_stride=16))
    assert text.splitlines()[3] == "block4  output stride 16   rates 2 4 8"
    assert text.splitlines()[4] == "block5  output stride 16   rates 4 8 16"


def test_the_command_takes_every_convention(monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["geometry", "--multi-grid", "1", "2", "4", "--multi-grid-rule", "replace"]
    )
    main()
    assert capsys.readouterr().out.splitlines()[3].endswith("rates 1 2 4")
    monkeypatch.setattr("sys.argv", ["geometry", "--multi-grid", "1", "2", "4"])
    main()
    assert capsys.readouterr().out.splitlines()[3].endswith("rates 2 4 8")
