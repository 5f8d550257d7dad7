"""The guard: which chains trained on what they would be evaluated on."""

from pathlib import Path

import pytest

from replication.data.sources import Sources
from replication.guard import leak_checks, leaks
from replication.plan import build
from replication.spec import load_tables
from replication.tiers import load_tier
from tests.data.test_reading import make_voc

HERE = Path(__file__).resolve().parents[1]
TIER = load_tier("smoke", HERE / "tiers")
TABLES = [table for table in load_tables(HERE / "tables") if table.number is not None]


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))

    def make(voc=None):
        return Sources.of(TIER.data, {"voc": str(voc)} if voc else {})

    return make


def voc_tree(folder, **splits):
    root = make_voc(folder, ids=("a", "b", "c", "d", "e"))
    for split, ids in splits.items():
        file = root / f"VOC2012/ImageSets/Segmentation/{split}.txt"
        file.write_text("\n".join(ids) + "\n")
    return root


def runs(number, sources, cell):
    tables = [table for table in TABLES if table.number == number]
    plan = build(tables, TIER, sources, [0], only=[cell])
    return plan.runs


def test_every_chain_of_the_paper_passes_on_the_generated_sets(sources):
    source = sources()
    assert leaks(build(TABLES, TIER, source, [0]).runs, source) == []


def test_a_stage_on_trainval_forbids_val_and_is_named(tmp_path, sources):
    """Table 7's chain, with a test list that is val: the third stage trained on it."""
    root = voc_tree(
        tmp_path, train=["a"], trainaug=["a", "b"], trainval=["a", "c", "d"], test=["c", "d", "e"]
    )
    source = sources(root)
    [line] = leaks(runs(7, source, "table7/deeplabv3"), source)
    # Pretraining and the stages on COCO and trainaug come first.
    assert line.startswith("table7/deeplabv3: stage 4 trained on voc trainval, which holds 2 of")
    assert "the 3 pictures of test (such as c)" in line


def test_a_leak_in_the_first_stage_is_found_through_the_last(tmp_path, sources):
    root = voc_tree(tmp_path, trainaug=["a", "e"], trainval=["b"], test=["c", "d", "e"])
    source = sources(root)
    [line] = leaks(runs(7, source, "table7/deeplabv3"), source)
    assert "stage 3 trained on voc trainaug" in line


def test_one_folder_under_two_roles_is_one_set(tmp_path):
    """COCO's role given VOC's folder: its training pictures are VOC's."""
    root = voc_tree(tmp_path, train=["a", "d"], trainaug=["b"], val=["d", "e"])
    source = Sources.of(TIER.data, {"voc": str(root), "coco": str(root)})
    [line] = leaks(runs(6, source, "table6/os8-ms-flip-coco"), source)
    assert "stage 2 trained on coco train, which holds 1 of the 2 pictures of val" in line


def test_equal_ids_of_other_sets_are_other_pictures(tmp_path, sources):
    """COCO's numbers and VOC's may coincide; only one folder's ids are compared."""
    root = voc_tree(tmp_path, train=["a"], trainaug=["b"], trainval=["c"], test=["e"])
    source = sources(root)
    assert leaks(runs(7, source, "table7/deeplabv3"), source) == []


def test_the_checks_behind_a_number_are_named(sources):
    """Table 6 with COCO before trainaug: only one of its stages has VOC's ids."""
    [run] = runs(6, sources(), "table6/os8-ms-flip-coco")
    made = "ids of voc val against those of trainaug at planning"
    rule = "the linter's rule “unseen” on the record"
    coco = "coco's pictures (ids of another set)"
    assert leak_checks(run).made == (made,)
    assert leak_checks(run, applied=("geometry", "unseen")).made == (made, rule)
    assert leak_checks(run).lacking == (coco,)
    lacking = {"unseen": "the record train-1 beside it", "batch norm": "weights"}
    assert leak_checks(run, lacking=lacking).lacking == (
        f"{rule}, for want of the record train-1 beside it",
        coco,
    )
    [plain] = runs(9, sources(), "table9/batch4")
    assert leak_checks(plain).lacking == ()


def test_what_no_check_sees_is_named(tmp_path, sources):
    """At the paper tier the weights are a file's, and Table 7's pictures the server's."""
    tables = [table for table in TABLES if table.number in (7, 9)]
    paper = load_tier("paper", HERE / "tiers")
    cells = ["table7/deeplabv3", "table9/batch4"]
    plan = build(
        tables, paper, Sources.of(paper.data, {}), [0], only=cells, weights={"resnet101": "abc"}
    )
    found = {run.name: leak_checks(run, applied=("unseen",)) for run in plan.runs}
    assert found["table9/batch4"].lacking == ("what the pretrained weights had seen",)
    assert len(found["table9/batch4"].made) == 2
    assert found["table7/deeplabv3"].made == ()
    assert found["table7/deeplabv3"].lacking == (
        "the test server's pictures",
        "what the pretrained weights had seen",
    )
