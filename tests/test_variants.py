"""tables/ledger.toml: one reading at a time, around the model that the paper calls its best."""

from pathlib import Path
from typing import Any

import pytest

from replication.ledger import load_ledger
from replication.spec import Cell, load_tables
from replication.tiers import load_tier, scale

HERE = Path(__file__).resolve().parents[1]
TABLES = {table.key: table for table in load_tables(HERE / "tables")}
LEDGER = TABLES["ledger"]
FIELDS = {point.field: point for point in load_ledger() if point.field}
# Which open points stand for themselves in a pair of cells of their own.
PAIRED = {
    "stride-first-previous": "stride-first-block",
    "frozen-all": "frozen-statistics",
    "labels-floor": "labels-corners",
    "rates32-kept": "rates32-halved",
}


def protocol(cell: Cell) -> dict[str, Any]:
    assert cell.network is not None and cell.evaluation is not None
    (stage,) = cell.stages
    evaluation = {f"evaluation.{k}": v for k, v in cell.evaluation.model_dump().items()}
    return {**cell.network.model_dump(), **stage.stage.model_dump(), **evaluation}


def differing(cell: Cell, other: Cell) -> set[str]:
    own, their = protocol(cell), protocol(other)
    return {key for key in own if own[key] != their[key]}


def test_the_pairs() -> None:
    alone = {"base", "frozen-statistics", "labels-corners", "rates32-halved"}
    assert {cell.id: cell.against for cell in LEDGER.cells if cell.id in alone} == dict.fromkeys(
        alone
    )
    others = {cell.id: cell.against for cell in LEDGER.cells if cell.id not in alone}
    assert others == {name: PAIRED.get(name, "base") for name in others}


@pytest.mark.parametrize("tier", [None, "paper", "micro", "smoke"])
def test_a_variant_is_another_reading_of_one_open_point(tier: str | None) -> None:
    for cell in LEDGER.cells:
        if cell.against is None:
            continue
        pair = [cell, LEDGER.cell(cell.against)]
        if tier is not None:
            pair = [scale(one, load_tier(tier, HERE / "tiers")) for one in pair]
        fields = {name.removeprefix("evaluation.") for name in differing(*pair)}
        assert len(fields) == 1 and fields <= FIELDS.keys(), cell.id
        chosen = {name: FIELDS[name].choice for name in fields}
        assert all(
            protocol(LEDGER.cell(cell.against)).get(name, "padded") == choice
            for name, choice in chosen.items()
        )


def test_no_two_cells_are_one() -> None:
    found = {(cell.network, cell.stages, cell.evaluation) for cell in LEDGER.cells}
    assert len(found) == len(LEDGER.cells)


@pytest.mark.parametrize(
    ("cell", "table", "other", "same_evaluation"),
    [
        ("base", 5, "mg124-pooling", True),
        ("image-resized", 5, "mg124-pooling", False),
        ("frozen-statistics", 8, "crop513-ul", True),
        ("labels-corners", 8, "crop513-bn", True),
        ("rates32-halved", 10, "train32-eval16", False),
    ],
)
def test_trainings_that_the_tables_share(
    cell: str, table: int, other: str, same_evaluation: bool
) -> None:
    one, their = LEDGER.cell(cell), TABLES[table].cell(other)
    assert (one.network, one.stages) == (their.network, their.stages)
    assert (one.evaluation == their.evaluation) is same_evaluation


def test_every_cell_says_whose_reading_it_is() -> None:
    assert all(cell.note and cell.published is None for cell in LEDGER.cells)
