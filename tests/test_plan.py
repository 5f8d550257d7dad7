"""The plan: equal steps once, ids over the whole configuration, nothing else."""

import json
from pathlib import Path

import pytest

from replication.data.sources import Sources
from replication.plan import backbone_only, build, overview, sweeps, work
from replication.runs import Store
from replication.spec import load_tables
from replication.tiers import load_tier

HERE = Path(__file__).resolve().parents[1]
TIER = load_tier("smoke", HERE / "tiers")
TABLES = [table for table in load_tables(HERE / "tables") if table.number is not None]


def plan(numbers=None, seeds=(0,), tier=TIER, data=None, only=None):
    chosen = [t for t in TABLES if numbers is None or t.number in numbers]
    return build(chosen, tier, Sources.of(tier.data, data or {}), seeds, only=only)


def test_the_whole_paper_shares_its_steps():
    """51 distinct trainings behind 74 cells (tests/test_tables.py works the number out)."""
    whole = plan()
    assert len(whole.runs) == 74
    assert len(whole.of_kind("evaluate")) == 62
    # One more than 51: COCO is a stage of two chains. And two pretrained backbones.
    assert len(whole.of_kind("train")) == 52 and len(whole.of_kind("pretrain")) == 2


def test_the_best_model_is_trained_once_for_six_tables():
    whole = plan()
    by_cell = {(run.table, run.cell): run for run in whole.runs}
    best = [
        by_cell[where].chain[-1].id
        for where in [
            (5, "mg124-pooling"),
            (6, "os16"),
            (9, "batch16"),
            (11, "replicas1"),
        ]
    ]
    assert len(set(best)) == 1


def test_parents_come_before_children():
    seen = set()
    for step in plan().steps.values():
        assert step.parent is None or step.parent in seen
        seen.add(step.id)


def test_seeds_share_nothing_not_even_the_pretraining():
    one, three = plan([9]), plan([9], seeds=(0, 1, 2))
    assert len(one.of_kind("pretrain")) == 1
    assert len(three.steps) == 3 * len(one.steps)


def test_a_table_alone_has_the_ids_it_has_among_all():
    assert set(plan([4]).steps) <= set(plan().steps)


def test_one_cell_alone():
    only = plan([3], only=["table3/mg124-block4"])
    assert [run.name for run in only.runs] == ["table3/mg124-block4"] and len(only.steps) == 3


def test_other_data_are_other_steps(tmp_path):
    from tests.data.test_reading import make_voc

    root = make_voc(tmp_path)
    lists = root / "VOC2012/ImageSets/Segmentation"
    for split in ("trainaug", "val"):
        (lists / f"{split}.txt").write_text("a\nb\n")
    ours, theirs = plan([9]), plan([9], data={"voc": str(root)})
    assert {s.id for s in ours.of_kind("pretrain")} == {s.id for s in theirs.of_kind("pretrain")}
    assert not {s.id for s in ours.of_kind("train")} & {s.id for s in theirs.of_kind("train")}


def test_every_field_of_the_protocol_is_part_of_the_identity():
    [step] = plan([9], only=["table9/batch4"]).of_kind("train")
    for section in ("network", "stage"):
        for field, value in step.config[section].items():
            changed = json.loads(json.dumps(step.config))
            changed[section][field] = f"not {value}"
            other = type(step)(kind="train", config=changed, parent=step.parent)
            assert other.id != step.id, field


def test_what_does_not_change_a_result_is_not_in_it():
    text = json.dumps([step.config for step in plan().steps.values()])
    for word in ("workers", "threads", "device", "checkpoint", "results"):
        assert f'"{word}' not in text


def test_pretraining_is_one_per_backbone_whatever_the_head():
    networks = [run.chain[-1].config["network"] for run in plan().runs]
    from replication.protocol import Network

    distinct = {backbone_only(Network.model_validate(n)).model_dump_json() for n in networks}
    assert len(distinct) == 2


def test_strategies_of_one_model_are_one_sweep():
    groups = sweeps(plan([4, 12]).of_kind("evaluate"))
    assert sorted(map(len, groups)) == [4, 4]


def test_rows_that_a_server_scores_are_trained_and_not_evaluated():
    paper = load_tier("paper", HERE / "tiers")
    voc, cityscapes = plan([7, 13], tier=paper).runs
    assert voc.evaluation is None and cityscapes.evaluation is None
    assert [step.config["data"]["split"] for step in voc.chain] == ["train", "trainaug", "trainval"]
    assert all(run.evaluation is not None for run in plan([7, 13]).runs)


def test_missing_data_are_said_and_planned_all_the_same():
    paper = load_tier("paper", HERE / "tiers")
    steps = plan([9], tier=paper).of_kind("train")
    assert len(steps) == 4
    assert {step.config["data"]["fingerprint"] for step in steps} == {"missing"}
    assert {step.config["initial"]["sha256"] for step in steps} == {"missing"}


def test_work_weighs_a_finer_output_stride_more():
    steps = {run.cell: run.chain[-1] for run in plan([1]).runs}
    weights = [work(steps[f"os{stride}"]) for stride in (8, 16, 32, 64)]
    assert weights == sorted(weights, reverse=True)


def test_overview_counts(tmp_path):
    shown = overview(plan([9], seeds=(0, 1)), Store(tmp_path))
    assert shown["trainings"]["unique"] == 10 and shown["trainings"]["missing"] == 10
    assert shown["evaluations"]["unique"] == 8
    assert {cell["status"] for cell in shown["cells"]} == {"missing"}
    assert {step["kind"] for step in shown["steps"]} == {"pretrain", "train", "evaluate"}


@pytest.mark.parametrize("module", ["spec", "plan", "runs", "verdict", "render", "collect"])
def test_planning_and_rendering_do_not_import_torch(module):
    import subprocess
    import sys

    code = f"import sys, replication.{module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True)
