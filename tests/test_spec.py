"""Specs: what a good one becomes, and the one line that each mistake is told in."""

import subprocess
import sys
from pathlib import Path

import pytest

from replication.errors import SpecError
from replication.protocol import Network
from replication.spec import load_tables
from tests.spec_samples import GRID, HERE, LIST, changed, folder, one, problems  # noqa: F401


def test_a_list(folder: Path) -> None:
    table = one(folder, LIST)
    plain, grid, both, other = table.cells
    assert (table.number, table.bold, table.grid) == (5, "both", None)
    assert plain.network is not None and plain.network.head == "aspp"
    assert plain.network.multi_grid == (1, 1, 1) and plain.network.units == (3, 4, 23, 3)
    assert plain.evaluation is not None and plain.evaluation.output_stride == 16
    assert grid.network is not None and grid.network.multi_grid == (1, 2, 1)
    assert grid.stages == plain.stages and grid.axes == {"multi_grid": (1, 2, 1)}
    coco, train = both.stages
    assert (coco.name, coco.stage.data, coco.stage.split) == ("coco", "coco", "train")
    assert coco.stage.learning_rate == 0.007 and train.stage.learning_rate == 0.0001
    assert train.stage.split == "trainaug"
    assert both.evaluation is not None and both.evaluation.scales == (0.5, 1.0)
    assert both.evaluation.output_stride == 8
    assert (other.method, other.label, other.published) == ("PSPNet", "PSPNet", 85.4)
    assert (other.network, other.stages, other.evaluation) == (None, (), None)
    drawn = [[column.text(cell) for column in table.columns] for cell in table.cells]
    assert drawn == [["", "", ""], ["✓", "", ""], ["✓", "✓", "✓"], ["", "", ""]]
    assert both.sets["stages.train.learning_rate"] == (
        "tables/table.toml: cells[2].stages.train.learning_rate"
    )
    (claim,) = table.claims
    assert (claim.kind, claim.mode, claim.pairs, claim.by) == (
        "greater", "all", (("grid", "plain"),), 1.0
    )  # fmt: skip


def test_a_grid(folder: Path) -> None:
    table = one(folder, GRID)
    numbers = {cell.id: cell.published for cell in table.cells}
    assert numbers == {
        "mg111-block4": 68.0, "mg111-block7": 75.0, "mg121-block4": 70.0, "mg121-block7": 76.5,
    }  # fmt: skip
    cell = table.cell("mg121-block7")
    assert cell.network is not None
    assert (cell.network.multi_grid, cell.network.last_block) == ((1, 2, 1), 7)
    assert cell.axes == {"multi_grid": (1, 2, 1), "last_block": 7}
    assert cell.sets["last_block"] == "tables/table.toml: grid.columns.last_block"
    assert table.grid is not None and table.grid.shape == (2, 2)
    assert {pair[0] for pair in table.claims[0].pairs} == {"mg121-block7"}
    assert len(table.claims[0].pairs) == 3


def test_fields_without_effect_do_not_tell_trainings_apart(folder: Path) -> None:
    first = one(folder, GRID).cell("mg111-block4")
    text = changed(
        GRID, '"resnet50"', '"resnet50"\ndropout = 0.5\nfrozen_bn = "all"\nextra_block_gamma = 0.0'
    )
    table = one(folder, text)
    assert table.cell("mg111-block4").network == first.network
    assert table.cell("mg111-block4").stages == first.stages
    assert table.cell("mg111-block7").network != first.network


def reading(folder: Path, text: str, *cells: str) -> list[Network]:
    table = one(folder, text)
    found = [table.cell(cell).network for cell in cells]
    assert None not in found
    return [network for network in found if network]


def test_the_multi_grid_rule_has_an_effect_wherever_a_block_has_a_rate(folder: Path) -> None:
    replaced = changed(GRID, '"resnet50"', '"resnet50"\nmulti_grid_rule = "replace"')
    cells = ("mg111-block4", "mg121-block4", "mg111-block7")
    # At output stride 16 unit rates of 1 take block4's 2 away.
    assert {n.multi_grid_rule for n in reading(folder, replaced, *cells)} == {"replace"}
    coarse = changed(replaced, '"resnet50"', '"resnet50"\noutput_stride = 32')
    rules = [n.multi_grid_rule for n in reading(folder, coarse, *cells)]
    assert rules == ["multiply", "multiply", "replace"]
    # Trained without rates, evaluated with them.
    finer = coarse + "\n[evaluation]\noutput_stride = 16\n"
    assert {n.multi_grid_rule for n in reading(folder, finer, *cells)} == {"replace"}


def test_aspps_rates_above_16_have_an_effect_where_they_are_used(folder: Path) -> None:
    kept = changed(LIST, 'head = "aspp"', 'head = "aspp"\natrous_rates_at_32 = "kept"')
    assert {n.atrous_rates_at_32 for n in reading(folder, kept, "plain", "both")} == {"halved"}
    trained = changed(kept, 'id = "plain"', 'id = "plain"\noutput_stride = 32')
    evaluated = changed(kept, 'id = "plain"', 'id = "plain"\nevaluation.output_stride = 32')
    for text in (trained, evaluated):
        rules = [n.atrous_rates_at_32 for n in reading(folder, text, "plain", "grid")]
        assert rules == ["kept", "halved"]
    cascade = changed(
        changed(evaluated, 'head = "aspp"', 'head = "cascade"'), "[1, 2, 1]", "[1, 1, 1]"
    )
    assert reading(folder, cascade, "plain")[0].atrous_rates_at_32 == "halved"


def test_aspps_gain_has_no_effect_on_a_cascade(folder: Path) -> None:
    gained = changed(LIST, 'head = "aspp"', 'head = "aspp"\naspp_gain = 2.0')
    assert reading(folder, gained, "plain")[0].aspp_gain == 2.0
    cascade = changed(
        changed(gained, 'head = "aspp"', 'head = "cascade"'), "[1, 2, 1]", "[1, 1, 1]"
    )
    assert reading(folder, cascade, "plain")[0].aspp_gain == 1.0


def test_the_label_grid_has_an_effect_without_upsampled_logits(folder: Path) -> None:
    for upsampled, grid in (("true", "corners"), ("false", "floor")):
        more = f'head = "aspp"\nlabel_grid = "floor"\nupsample_logits = {upsampled}'
        table = one(folder, changed(LIST, 'head = "aspp"', more))
        assert {s.stage.label_grid for c in table.cells for s in c.stages} == {grid}


def test_rows_that_need_test_labels_keep_their_protocol(folder: Path) -> None:
    text = changed(
        LIST, 'id = "grid"', 'id = "grid"\nunavailable = "no labels"\nneeds = "test labels"'
    )
    cell = one(folder, text).cell("grid")
    assert cell.needs == "test labels" and cell.network is not None
    text = changed(LIST, 'id = "grid"', 'id = "grid"\nunavailable = "JFT-300M is not public"')
    assert one(folder, text).cell("grid").network is None


def test_only_the_asked_for(folder: Path) -> None:
    (folder / "table3.toml").write_text(GRID)
    (folder / "table5.toml").write_text(LIST)
    assert [table.number for table in load_tables(folder)] == [3, 5]
    assert [table.number for table in load_tables(folder, [5])] == [5]
    with pytest.raises(SpecError, match=r"^tables: no table 4; known: 3, 5$"):
        load_tables(folder, [4])


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"^nowhere: no such folder of tables"):
        load_tables(Path("nowhere"))


def test_specs_tiers_and_ledger_do_not_import_torch() -> None:
    code = (
        "import sys, replication.spec, replication.tiers, replication.ledger; "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE, check=False).returncode == 0


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ("accumulate = 3", "accumulate = 3 must divide batch_size = 16: all parts are of one size"),
        (
            "image_pooling = true\naccumulate = 16",
            "accumulate = 16 leaves parts of one picture, from which image pooling's batch "
            "normalisation has no statistics; batch_size = 16 allows 1, 2, 4, 8",
        ),
    ],
)
def test_a_batch_in_parts(folder: Path, training: str, told: str) -> None:
    found = problems(folder, changed(LIST, 'head = "aspp"', f'head = "aspp"\n{training}'))
    assert found == [f"tables/table.toml: cells[0]: {told} (and in 2 more cells)"]


def test_parts_that_are_allowed(folder: Path) -> None:
    text = changed(LIST, 'head = "aspp"', 'head = "aspp"\naccumulate = 16\nprecision = "bf16"')
    cell = one(folder, text).cell("plain")
    assert [named.stage.accumulate for named in cell.stages] == [16]
    assert cell.stages[0].stage.precision == "bf16" and cell.evaluation is not None
    assert cell.evaluation.precision == "fp32", "the evaluation has its own"
