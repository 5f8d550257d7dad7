"""Probes: which steps share one, how they are kept, and a real one of the smallest network."""

import json

import pytest

from replication.arguments import HOME
from replication.data.sources import Sources
from replication.errors import RunError
from replication.forecast import devices, probing
from replication.forecast.pictures import Split, Splits
from replication.forecast.probes import Probe, Probes, shape
from replication.plan import build, sweeps
from replication.spec import load_tables
from replication.tiers import load_tier

TIER = load_tier("smoke", HOME / "tiers")
SOURCES = Sources.of(TIER.data, {})


@pytest.fixture(scope="module")
def plan():
    tables = [t for t in load_tables(HOME / "tables") if t.number in (3, 4, 9)]
    return build(tables, TIER, SOURCES, [0, 1])


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(devices, "gpu", lambda: None)
    return devices.here("cpu", 1)


def shapes(plan, here, cell):
    """Those of a cell's training and evaluation."""
    run = next(run for run in plan.runs if run.name == cell)
    splits = Splits(SOURCES)
    found = []
    for step in (run.chain[-1], run.evaluation):
        data = step.config["data"]
        found.append(shape([step.config], splits.of(data["role"], data["split"]), here))
    return found


def test_what_shares_a_probe(plan, here):
    """Unit rates and seeds do not matter to speed; depth, batch and scales do."""
    trained, evaluated = shapes(plan, here, "table3/mg121-block7")
    assert shapes(plan, here, "table3/mg124-block7")[0].key == trained.key
    assert shapes(plan, here, "table3/mg121-block6")[0].key != trained.key
    assert shapes(plan, here, "table9/batch4")[0].key != shapes(plan, here, "table9/batch8")[0].key
    assert shapes(plan, here, "table4/os8")[1].key != evaluated.key
    assert len({one.key for one in (trained, evaluated)}) == 2


def test_an_evaluation_is_probed_on_one_batch_of_its_commonest_size(plan, here):
    _, one = shapes(plan, here, "table4/os8")
    # Eight pictures of 65 pixels, of which seven make a batch on a CPU.
    assert one.picture == (65, 65) and one.pictures == 7
    step = next(run for run in plan.runs if run.name == "table4/os8").evaluation
    ragged = Split(sizes={(40, 60): 3, (65, 65): 2, (90, 70): 4}, classes=13)
    # Padded to 65, five of them are alike.
    assert shape([step.config], ragged, here).picture == (65, 65)


def test_measurements_are_kept_for_their_device_and_number_of_workers(plan, here, tmp_path):
    one, _ = shapes(plan, here, "table9/batch4")
    probes = Probes(tmp_path / "cache" / "probes.json")
    assert probes.of(one, 2) is None
    probes.keep(one, Probe(seconds=0.5, flops=7.0), 2)
    probes.keep(one, Probe(seconds=0.75, flops=7.0), 8)
    again = Probes(tmp_path / "cache" / "probes.json")
    assert again.of(one, 2) == Probe(seconds=0.5, flops=7.0)
    assert again.of(one, 1).seconds == 0.5 and again.of(one, 64).seconds == 0.75
    other = devices.here("cpu", 2)
    assert again.of(shapes(plan, other, "table9/batch4")[0], 2) is None
    [entry] = json.loads((tmp_path / "cache" / "probes.json").read_text()).values()
    assert entry["label"] == "train resnet101 block4, crop 65, batch 4, stride 16"
    assert entry["shape"]["torch"] and entry["shape"]["threads"] == 1


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "probes.json").write_text("{")
    with pytest.raises(RunError, match=r"probes.json: damaged .*; delete it to measure anew"):
        Probes(tmp_path / "probes.json")


def test_the_real_loops_are_probed(plan, here, monkeypatch):
    """A pretraining, a training and a sweep of the smoke tier: each is run, and counted."""
    monkeypatch.setattr(probing, "SECONDS", 0.01)
    splits = Splits(SOURCES)
    evaluations = [run.evaluation for run in plan.runs if run.table == 4 and run.seed == 0]
    jobs = [
        [plan.of_kind("pretrain")[0]],
        [plan.of_kind("train")[0]],
        max(sweeps(evaluations), key=len),
    ]
    for job in jobs:
        data = job[0].config["data"]
        configs = [step.config for step in job]
        one = shape(configs, splits.of(data["role"], data["split"]), here)
        measured = probing.measure(one)
        assert 1e-4 < measured.seconds < 60 and measured.flops == one.effort.flops > 0


def test_a_probe_that_does_not_fit_says_so(plan, here, monkeypatch):
    def fails(one):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    one, _ = shapes(plan, here, "table9/batch4")
    monkeypatch.setattr(probing, "measure", fails)
    assert probing.attempt(one) == "out of memory"

    def broken(one):
        raise RuntimeError("something else")

    monkeypatch.setattr(probing, "measure", broken)
    with pytest.raises(RuntimeError, match="something else"):
        probing.attempt(one)
