"""The vocabulary: what a step's configuration holds of it, and what never changes."""

import json
from pathlib import Path

import pytest

from replication.data.sources import Sources
from replication.plan import build, sweeps
from replication.protocol import Evaluation, Network, Pretraining, Stage
from replication.spec import load_tables
from replication.spec.checks import show
from replication.tiers import load_tier
from tests.conftest import small_network, small_stage

HERE = Path(__file__).resolve().parents[1]
TIER = load_tier("smoke", HERE / "tiers")

# Fields that once were built in, each at what it was then, and another value.
LATER = {
    "multi_grid_rule": ("multiply", "replace"),
    "atrous_rates_at_32": ("halved", "kept"),
    "label_grid": ("corners", "floor"),
    "padding": ("bottom-right", "centre"),
    "whole_image": ("padded", "resized"),
    "accumulate": (1, 2),
    "precision": ("fp32", "bf16"),
    "deterministic": (False, True),
    "aspp_gain": (1.0, 8.0),
    "residual_gamma": (1.0, 0.25),
}
# Those of an evaluation alone.
OF_EVALUATIONS = ("whole_image",)
# Those of a pretraining alone, which a tier sets and no cell.
OF_PRETRAININGS = ("residual_gamma",)
TABLE = """\
number = 5
title = "Other readings"
source = "a test"

[training]
head = "aspp"
multi_grid = [1, 2, 4]
output_stride = 32
upsample_logits = false

[[cells]]
id = "paper"
evaluation.output_stride = 16
published = 1.0
"""


def planned(tables: Path, numbers: list[int] | None = None):
    return build(load_tables(tables, numbers), TIER, Sources.of(TIER.data, {}), (0,))


def of_changes(tmp_path: Path, changes: str):
    (tmp_path / "protocol.toml").write_text((HERE / "tables/protocol.toml").read_text())
    (tmp_path / "table.toml").write_text(TABLE + changes)
    return planned(tmp_path)


def test_a_default_is_never_changed() -> None:
    """Ids of old records stand for these: another default would give them another meaning."""
    defaults = {
        (name, one.default)
        for model in (Network, Stage, Pretraining, Evaluation)
        for name, one in model.model_fields.items()
        if not one.is_required()
    }
    assert defaults == {(name, first) for name, (first, _) in LATER.items()}


@pytest.mark.parametrize("name", LATER)
def test_a_configuration_leaves_out_what_stands_at_its_default(name: str) -> None:
    first, other = LATER[name]
    evaluation = Evaluation(
        data="voc", split="val", output_stride=16, crop_size=33, scales=(1.0,), flip=False
    )
    plain = next(
        one
        for one in (small_network(), small_stage(), evaluation, TIER.pretraining)
        if name in type(one).model_fields
    )
    changed = plain.model_copy(update={name: other})
    assert name not in plain.config() and changed.config()[name] == other
    assert plain.config() == type(plain).model_validate({**plain.config(), name: first}).config()
    for one in (plain, changed):
        read = json.loads(json.dumps(one.config()))
        assert type(one).model_validate(read) == one
        assert type(one).whole(read) == one.model_dump(mode="json")


@pytest.mark.parametrize("number", [4, 5, 6, 8])
def test_the_ids_of_recorded_results_stay(number: int) -> None:
    """The references were recorded before the fields in LATER were."""
    recorded = json.loads((HERE / f"references/smoke-table{number:02}.json").read_text())
    runs = {run.cell: run for run in planned(HERE / "tables", [number]).runs}
    assert runs.keys() == recorded["cells"].keys()
    for cell, [one] in recorded["cells"].items():
        assert [step.id for step in runs[cell].chain] == one["training"]
        assert runs[cell].evaluation is not None
        assert runs[cell].evaluation.id == one["evaluation"]


def test_an_id_by_hand() -> None:
    """Table 5's first row at the smoke tier, as it was on the day of VERSION 4's first record."""
    [run, *_] = planned(HERE / "tables", [5]).runs
    assert [step.id for step in run.steps] == [
        "pretrain-b0802e7db8af394f",
        "train-531649193a215f2a",
        "evaluate-edae508db2ce5b5e",
    ]


@pytest.mark.parametrize("name", LATER.keys() - OF_PRETRAININGS)
def test_another_reading_is_another_step(tmp_path: Path, name: str) -> None:
    key = f"evaluation.{name}" if name in OF_EVALUATIONS else name
    other = f'[[cells]]\nid = "other"\n{key} = {show(LATER[name][1])}\n'
    plan = of_changes(tmp_path, other + "evaluation.output_stride = 16\npublished = 1.0\n")
    one, two = plan.runs
    assert one.chain[0].id == two.chain[0].id, "the pretraining is the same"
    assert (one.chain[-1].id == two.chain[-1].id) == (name in OF_EVALUATIONS)
    assert one.evaluation is not None and two.evaluation is not None
    assert one.evaluation.id != two.evaluation.id
    assert name not in json.dumps([step.config for step in one.steps])


@pytest.mark.parametrize(
    "other", ['whole_image = "resized"', 'precision = "bf16"', "deterministic = true"]
)
def test_evaluations_that_see_or_compute_otherwise_share_no_pass(
    tmp_path: Path, other: str
) -> None:
    other = f"evaluation = {{ output_stride = 16, {other} }}\npublished = 1.0\n"
    plan = of_changes(tmp_path, f'[[cells]]\nid = "other"\n{other}')
    assert len(plan.of_kind("train")) == 1
    assert [len(group) for group in sweeps(plan.of_kind("evaluate"))] == [1, 1]
