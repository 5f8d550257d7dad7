"""Which open points touch which cells: hand-worked from the tables."""

from dataclasses import replace
from pathlib import Path

import pytest

from replication.ledger import load_ledger
from replication.results import OpenPoint
from replication.spec import TableKey, load_tables
from replication.tiers import load_tier
from replication.touches import _others, open_points

HERE = Path(__file__).resolve().parents[1]
TABLES = {table.key: table for table in load_tables(HERE / "tables")}
POINTS = load_ledger()


def touching(table: TableKey, tier: str = "paper") -> dict[str, list[OpenPoint]]:
    """By field, or by topic where there is none."""
    found: dict[str, list[OpenPoint]] = {}
    for one in open_points(TABLES[table], load_tier(tier, HERE / "tiers"), POINTS):
        found.setdefault(one.field or one.topic, []).append(one)
    return found


def cells(points: list[OpenPoint]) -> set[str]:
    return {cell for point in points for cell in point.cells}


def test_every_field_of_the_ledger_has_two_values_to_try() -> None:
    assert all(len(_others(point.field)) >= 2 for point in POINTS if point.field)


def test_dropout_touches_heads_of_aspp_only() -> None:
    assert "dropout" not in touching(1) and "dropout" not in touching(3)
    (dropout,) = touching(5)["dropout"]
    assert dropout.every and (dropout.value, dropout.set_by) == ("0.1", "")


def test_copied_blocks_touch_networks_that_have_them() -> None:
    (gamma,) = touching(2)["extra_block_gamma"]
    assert not gamma.every
    assert set(gamma.cells) == {f"resnet{n}-block{block}" for n in (50, 101) for block in (5, 6, 7)}
    assert touching(1)["extra_block_gamma"][0].every
    assert "extra_block_gamma" not in touching(5)


def test_the_rule_of_multi_grid_needs_a_dilated_block() -> None:
    (rule,) = touching(1)["multi_grid_rule"]
    assert set(rule.cells) == {"os8", "os16", "os32", "os64", "os128"}


def test_frozen_bn_touches_frozen_stages() -> None:
    assert cells(touching(8)["frozen_bn"]) == {"crop513-ul"}
    (frozen,) = touching(7)["frozen_bn"]
    assert frozen.every and frozen.cells == ("deeplabv3",)
    assert "frozen_bn" not in touching(6)


def test_labels_touch_logits_that_are_not_upsampled() -> None:
    assert cells(touching(8)["label_grid"]) == {"crop513-bn"}


def test_rates_at_32_touch_what_is_trained_at_32() -> None:
    assert cells(touching(10)["atrous_rates_at_32"]) == {"train32-eval16", "train32-eval8"}


def test_the_first_units_rate_matters_for_first_strides_only() -> None:
    assert "first_unit_rate" not in touching(5)
    (rate,) = touching(5, "reduced")["first_unit_rate"]
    assert rate.every and rate.value == "block"


def test_the_size_of_evaluation_touches_every_cell() -> None:
    (size,) = touching(4)["whole_image"]
    assert size.every and len(size.cells) == 4


def test_points_without_a_field_touch_the_cells_they_name() -> None:
    assert cells(touching(9)["Iterations at smaller batch sizes"]) == {
        "batch4", "batch8", "batch12",
    }  # fmt: skip
    coco = touching(6)["Schedule of the training on MS-COCO"]
    assert cells(coco) == {"os8-ms-flip-coco"} and not coco[0].every
    assert "Schedule of the training on MS-COCO" not in touching(5)


@pytest.mark.parametrize(("tier", "there"), [("paper", True), ("reduced", True), ("micro", False)])
def test_what_is_about_real_data_is_left_out_where_they_are_generated(
    tier: str, there: bool
) -> None:
    found = touching(6, tier)
    assert ("Which images of MS-COCO are trained on" in found) is there
    assert ("Weights of the ImageNet backbone" in found) is there
    assert "Weights of the ImageNet backbone" not in touching(6, "reduced-random")


def test_what_a_tier_sets_is_in_force() -> None:
    (decay,) = touching(5, "micro-dev")["bn_decay"]
    assert (decay.value, decay.chosen, decay.set_by) == ("0.9", "0.9997", "tiers/micro.toml")
    (stride,) = touching(5, "reduced")["stride_unit"]
    assert (stride.value, stride.set_by) == ("first", "tiers/reduced.toml")


def test_what_a_cell_sets_is_its_own() -> None:
    usual, wet, dry = touching("ledger")["dropout"]
    assert usual.every and "base" in usual.cells and "dropout-0.5" not in usual.cells
    assert (wet.value, wet.cells, wet.every) == ("0.5", ("dropout-0.5",), False)
    assert (dry.value, dry.cells, dry.set_by) == ("0.0", ("dropout-none",), "tables/ledger.toml")
    assert wet.chosen == "0.1"
    # Stated, and as chosen: nobody's override.
    statistics, everything = touching("ledger")["frozen_bn"]
    assert (statistics.cells, statistics.set_by) == (("frozen-statistics",), "")
    assert (everything.value, everything.set_by) == ("all", "tables/ledger.toml")


def test_a_protocol_of_ones_own() -> None:
    """Neither a table nor the tier sets it, and yet it is not the choice."""
    (point,) = (replace(one, choice=0.5) for one in POINTS if one.field == "momentum")
    (found,) = open_points(TABLES[9], load_tier("paper", HERE / "tiers"), [point])
    assert (found.value, found.chosen, found.set_by) == ("0.9", "0.5", "tables/protocol.toml")


def test_other_groups_rows_are_not_cells_to_touch() -> None:
    assert cells(touching(13)["momentum"]) == {"deeplabv3"}
    assert touching(13)["momentum"][0].every
