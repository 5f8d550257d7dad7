"""The thirteen tables: their numbers, their claims, and the trainings that they share."""

from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from replication.protocol import Network
from replication.spec import Cell, Claim, NamedStage, Table, load_tables

HERE = Path(__file__).resolve().parents[1]
TABLES = {t.number: t for t in load_tables(HERE / "tables") if t.number is not None}
CLAIMS = [(table, claim) for table in TABLES.values() for claim in table.claims]

Training = tuple[Network, tuple[NamedStage, ...]]


def training(cell: Cell) -> Training:
    assert cell.network is not None
    return cell.network, cell.stages


def measurable() -> list[Cell]:
    return [cell for table in TABLES.values() for cell in table.cells if cell.network]


def test_every_table_is_there() -> None:
    assert sorted(TABLES) == list(range(1, 14))


# Every number as printed, in the paper's order.
PUBLISHED = {
    1: [75.18, 73.88, 70.06, 59.99, 42.34, 20.29],
    2: [64.81, 72.14, 74.29, 73.88, 68.39, 73.21, 75.34, 75.76],
    3: [
        68.39, 73.21, 75.34, 75.76, 70.23, 75.67, 76.09, 76.66, 73.14, 75.78, 75.96, 76.11,
        73.45, 75.74, 75.85, 76.02, 71.45, 74.30, 74.70, 74.62,
    ],
    4: [76.66, 78.05, 78.93, 79.35],
    5: [75.36, 75.93, 76.58, 76.46, 77.21],
    6: [77.21, 78.51, 79.45, 79.77, 82.70],
    7: [
        79.1, 79.3, 79.7, 80.2, 81.4, 81.8, 82.7, 83.1, 83.6, 84.2, 84.9, 85.4, 86.3, 86.6, 86.8,
        85.7, 86.9,
    ],
    8: [77.21, 75.95, 76.01, 67.22],
    9: [64.43, 75.76, 76.49, 77.21],
    10: [74.45, 77.21, 75.90, 75.62, 78.51, 75.75],
    11: [77.21, 77.15, 76.79, 77.02, 77.18, 76.69],
    12: [77.23, 77.82, 79.06, 79.30],
    13: [
        70.4, 71.1, 71.2, 71.6, 71.8, 71.8, 73.6, 74.1, 74.3, 75.4, 77.3, 78.1, 79.2, 80.1, 80.5,
        80.6, 81.2, 81.3,
    ],
}  # fmt: skip


@pytest.mark.parametrize("number", PUBLISHED)
def test_the_published_numbers(number: int) -> None:
    assert [cell.published for cell in TABLES[number].cells] == PUBLISHED[number]


def test_the_relative_times_of_table_11() -> None:
    times = [cell.also["relative_time"] for cell in TABLES[11].cells]
    assert times == [1.00, 0.50, 0.25, 0.13, 0.06, 0.03]


def test_every_measurable_table_has_claims() -> None:
    # Table 13's only sentence is its number itself.
    assert {number for number, table in TABLES.items() if not table.claims} == {13}


def gains(claim: Claim, table: Table) -> list[float]:
    found = []
    for first, second in claim.pairs:
        high, low = table.cell(first).published, table.cell(second).published
        assert high is not None and low is not None
        found.append(high - low)
    return found


@pytest.mark.parametrize(
    ("table", "claim"), CLAIMS, ids=[f"table{t.number}-{c.says[:40]}" for t, c in CLAIMS]
)
def test_a_claim_holds_on_the_published_numbers(table: Table, claim: Claim) -> None:
    found = gains(claim, table)
    if claim.mode == "similar":
        assert claim.within is not None
        assert all(abs(gain) <= claim.within for gain in found)
    elif claim.mode == "no worse":
        assert claim.within is not None
        assert all(gain >= -claim.within for gain in found)
    elif claim.mode == "mean":
        assert fmean(found) > 0
    else:
        assert all(gain > 0 for gain in found)
    if claim.by is not None:
        # The paper's gains are differences of its printed numbers.
        assert fmean(found) == pytest.approx(claim.by, abs=0.005)


def test_a_mean_is_claimed_only_where_the_paper_says_so() -> None:
    for table, claim in CLAIMS:
        if claim.mode == "mean" and table.number != 2:
            assert any(gain <= 0 for gain in gains(claim, table)), claim.says


def test_the_bold_cell_is_the_best() -> None:
    for table in TABLES.values():
        if table.bold:
            best = max(table.cells, key=lambda cell: cell.published or 0.0)
            assert table.bold == best.id
    assert TABLES[3].bold == "mg121-block7"


def test_the_first_row_of_table_3_is_the_second_of_table_2() -> None:
    for block in (4, 5, 6, 7):
        one = TABLES[3].cell(f"mg111-block{block}")
        other = TABLES[2].cell(f"resnet101-block{block}")
        assert training(one) == training(other) and one.evaluation == other.evaluation
        assert one.published == other.published


def test_table_1_at_output_stride_16_stands_in_table_2() -> None:
    one, other = TABLES[1].cell("os16"), TABLES[2].cell("resnet50-block7")
    assert training(one) == training(other) and one.evaluation == other.evaluation
    assert one.published == other.published


def test_table_4_is_one_training_from_table_3() -> None:
    best = TABLES[3].cell("mg121-block7")
    assert {training(cell) for cell in TABLES[4].cells} == {training(best)}
    assert TABLES[4].cells[0].evaluation == best.evaluation
    assert len({cell.evaluation for cell in TABLES[4].cells}) == 4


def test_77_21_is_one_training_and_one_evaluation_in_six_tables() -> None:
    cells = [cell for cell in measurable() if cell.published == 77.21]
    assert [cell.name for cell in cells] == [
        "table5/mg124-pooling",
        "table6/os16",
        "table8/crop513-ul-bn",
        "table9/batch16",
        "table10/train16-eval16",
        "table11/replicas1",
    ]
    assert len({(training(cell), cell.evaluation) for cell in cells}) == 1


def test_tables_6_and_10_share_their_evaluation_at_output_stride_8() -> None:
    one, other = TABLES[6].cell("os8"), TABLES[10].cell("train16-eval8")
    assert (training(one), one.evaluation) == (training(other), other.evaluation)


def test_tables_6_and_7_share_their_trainings_on_coco_and_trainaug() -> None:
    six, seven = TABLES[6].cell("os8-ms-flip-coco"), TABLES[7].cell("deeplabv3")
    assert six.network == seven.network
    assert six.stages == seven.stages[:2]
    assert [one.name for one in seven.stages] == ["coco", "train", "trainval"]
    assert [one.stage.learning_rate for one in seven.stages] == [0.007, 0.0001, 0.001]


def test_the_last_stage_of_table_7() -> None:
    stage = TABLES[7].cell("deeplabv3").stages[-1].stage
    assert (stage.split, stage.output_stride, stage.batch_norm) == ("trainval", 8, "frozen")
    assert stage.duplicate == ("bicycle", "chair", "diningtable", "pottedplant", "sofa")


def test_the_small_crop_of_table_8_is_evaluated_as_the_others() -> None:
    cell = TABLES[8].cell("crop321-ul-bn")
    assert cell.stages[0].stage.crop_size == 321
    assert cell.evaluation == TABLES[8].cells[0].evaluation


def test_the_protocols_of_cityscapes() -> None:
    stage = TABLES[12].cells[0].stages[0].stage
    assert (stage.data, stage.split) == ("cityscapes", "train")
    assert (stage.iterations, stage.crop_size, stage.learning_rate) == (90_000, 769, 0.007)
    best = TABLES[12].cell("os8-ms-flip").evaluation
    assert best is not None and best.scales == (0.75, 1.0, 1.25) and best.split == "val"
    evaluation = TABLES[13].cell("deeplabv3").evaluation
    assert evaluation is not None
    assert (evaluation.split, evaluation.output_stride) == ("test", 4)
    assert evaluation.scales == (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def test_what_cannot_be_measured_says_why() -> None:
    ours = [c for table in TABLES.values() for c in table.cells if c.method is None]
    closed = {cell.name: cell.needs for cell in ours if cell.unavailable}
    assert closed == {
        "table7/deeplabv3": "test labels",
        "table7/deeplabv3-jft": None,
        "table13/deeplabv3": "test labels",
    }
    assert TABLES[7].cell("deeplabv3-jft").network is None


def test_no_number_on_val_comes_from_trainval() -> None:
    for cell in measurable():
        assert cell.evaluation is not None
        if any(one.stage.split.startswith("trainval") for one in cell.stages):
            assert cell.evaluation.split == "test"


def test_the_count_of_cells_and_trainings() -> None:
    cells = measurable()
    assert sum(len(table.cells) for table in TABLES.values()) == 107
    assert len(cells) == 74
    # 51 chains of trainings; the training on COCO is a link that ends none of them.
    assert len({training(cell) for cell in cells}) == 51
    links = {
        (cell.network, cell.stages[: depth + 1])
        for cell in cells
        for depth in range(len(cell.stages))
    }
    assert len(links) == 52
    assert len({(training(cell), cell.evaluation) for cell in cells}) == 62
    shared = Counter(training(cell) for cell in cells)
    assert max(shared.values()) == 10  # the 77.21 model: 4 rows of table 6, 2 of 10, and 4 others


def test_the_drawn_ticks() -> None:
    def ticks(number: int) -> list[str]:
        table = TABLES[number]
        return [
            "".join("x" if column.text(cell) else "." for column in table.columns)
            for cell in table.cells
        ]

    assert ticks(4) == ["x...", ".x..", ".xx.", ".xxx"]
    assert ticks(5) == ["x..x..", ".x.x..", "..xx..", "..x.x.", "..xx.x"]
    assert ticks(6) == ["x....", ".x...", ".xx..", ".xxx.", ".xxxx"]
    assert ticks(8) == ["xxx", "xx.", "x.x", "xxx"]
    assert ticks(12) == ["x...", ".x..", ".xx.", ".xxx"]
    train, batch, evaluated = TABLES[10].columns
    cell = TABLES[10].cell("train8-eval16")
    assert [column.text(cell) for column in (train, batch, evaluated)] == ["8", "6", "16"]
    last = TABLES[11].cells[-1]
    assert [column.text(last) for column in TABLES[11].columns] == ["32", "0.03"]
