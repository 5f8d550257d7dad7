"""Probes: which steps share one, how they are kept, and a real one of the smallest network."""

import io
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import pytest
from rich.console import Console

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
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 2)
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


def test_measurements_are_kept_for_their_device_code_and_number_of_workers(
    plan, here, monkeypatch, tmp_path
):
    one, _ = shapes(plan, here, "table9/batch4")
    probes = Probes(tmp_path / "cache" / "probes.json")
    assert probes.of(one, 2) is None
    probes.keep(one, Probe(seconds=0.5, flops=7.0), 2)
    probes.keep(one, Probe(seconds=0.75, flops=7.0), 8)
    again = Probes(tmp_path / "cache" / "probes.json")
    assert again.of(one, 2) == (Probe(seconds=0.5, flops=7.0), 2)
    # Of another number of workers there is the nearest, which says its own.
    assert [again.of(one, n)[1] for n in (1, 2, 7, 64)] == [2, 2, 8, 8]
    assert again.of(one, 64)[0].seconds == 0.75
    other = devices.here("cpu", 2)
    assert again.of(shapes(plan, other, "table9/batch4")[0], 2) is None
    monkeypatch.setattr("replication.runs.VERSION", 0)
    assert again.of(one, 2) is None
    [entry] = json.loads((tmp_path / "cache" / "probes.json").read_text()).values()
    assert entry["label"] == "train resnet101 block4, crop 65, batch 4, stride 16"
    assert entry["shape"]["torch"] and entry["shape"]["threads"] == 1


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "probes.json").write_text("{")
    with pytest.raises(RunError, match=r"probes.json: damaged .*; delete it to measure anew"):
        Probes(tmp_path / "probes.json")


def test_the_real_loops_are_probed(plan, here, monkeypatch, tmp_path):
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
        measured = probing.measure(one, str(tmp_path))
        assert 1e-4 < measured.seconds < 60 and measured.flops == one.effort.flops > 0
    assert not list(tmp_path.iterdir())


def test_a_probe_that_does_not_fit_says_so(plan, here, monkeypatch):
    def fails(one, folder):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    one, _ = shapes(plan, here, "table9/batch4")
    monkeypatch.setattr(probing, "measure", fails)
    assert probing.attempt(one, "") == "out of memory"

    def broken(one, folder):
        raise RuntimeError("something else")

    monkeypatch.setattr(probing, "measure", broken)
    with pytest.raises(RuntimeError, match="something else"):
        probing.attempt(one, "")


@pytest.fixture
def threads(monkeypatch):
    """Threads in the place of a pool's processes."""

    @contextmanager
    def pool(workers):
        with ThreadPoolExecutor(workers) as made:
            yield made

    monkeypatch.setattr(probing, "_processes", pool)


@pytest.mark.parametrize("count", [1, 3])
def test_no_shape_is_measured_beside_idle_neighbours(
    plan, here, monkeypatch, tmp_path, threads, count
):
    """Two at a time: neither one alone nor the last of three is without company."""
    company = threading.Barrier(2, timeout=2)

    def attempt(one, folder):
        try:
            company.wait()
        except threading.BrokenBarrierError:
            return "alone"
        return Probe(seconds=1.0, flops=1.0)

    monkeypatch.setattr(probing, "attempt", attempt)
    some = [shapes(plan, here, f"table9/batch{n}")[0] for n in (4, 8, 12)][:count]
    probes = Probes(tmp_path / "probes.json")
    assert probing.measure_all(some, probes, 2, Console(file=io.StringIO())) == {}
    assert all(probes.of(one, 2)[1] == 2 for one in some)


def test_what_lacks_memory_is_not_repeated_beside_the_others(
    plan, here, monkeypatch, tmp_path, threads
):
    tried = []

    def attempt(one, folder):
        tried.append(one.label)
        time.sleep(0.05)
        large = "batch 8" in one.label
        return "out of memory" if large else Probe(seconds=1.0, flops=1.0)

    monkeypatch.setattr(probing, "attempt", attempt)
    some = [shapes(plan, here, f"table9/batch{n}")[0] for n in (8, 4)]
    probes = Probes(tmp_path / "probes.json")
    problems = probing.measure_all(some, probes, 1, Console(file=io.StringIO()))
    assert problems == {some[0].label: "out of memory"} and len(tried) == 2
    tried.clear()
    problems = probing.measure_all([some[0]], probes, 4, Console(file=io.StringIO()))
    # Itself and its company, once each.
    assert problems == {some[0].label: "out of memory"} and len(tried) <= 4


def test_a_killed_process_is_a_problem_of_its_shape_alone(plan, here, monkeypatch, tmp_path):
    """As a pool does, where one of its processes is killed: all that it runs, and is given, fails.

    What was measured beside it is measured again, and not alone but beside another one.
    """
    killed, running, seen = threading.Event(), [], []

    class Pool(ThreadPoolExecutor):
        def submit(self, *args):
            if killed.is_set():
                raise BrokenProcessPool
            return super().submit(*args)

    @contextmanager
    def pool(workers):
        killed.clear()
        with Pool(workers) as made:
            yield made

    def attempt(one, folder):
        running.append(one.label)
        seen.append(set(running))
        if "batch 8" in one.label:
            time.sleep(0.05)
            killed.set()
        broken = killed.wait(0.5)
        running.remove(one.label)
        if broken:
            raise BrokenProcessPool
        return Probe(seconds=1.0, flops=1.0)

    monkeypatch.setattr(probing, "_processes", pool)
    monkeypatch.setattr(probing, "attempt", attempt)
    some = [shapes(plan, here, f"table9/batch{n}")[0] for n in (4, 8, 12)]
    probes = Probes(tmp_path / "probes.json")
    problems = probing.measure_all(some, probes, 2, Console(file=io.StringIO()))
    assert problems == {some[1].label: "the process was killed (out of memory?)"}
    assert [probes.of(one, 2) is not None for one in some] == [True, False, True]
    innocent, guilty, other = (one.label for one in some)
    assert seen.count({innocent, guilty}) == 1
    assert {innocent, other} in seen and {guilty, other} in seen


def test_a_process_that_is_always_killed_ends_the_probes(plan, here, monkeypatch, tmp_path):
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            if self._broken:
                raise BrokenProcessPool
            self._broken, future = True, Future()
            future.set_exception(BrokenProcessPool())
            return future

    @contextmanager
    def pool(workers):
        yield Broken(workers)

    monkeypatch.setattr(probing, "_processes", pool)
    some = [shapes(plan, here, f"table9/batch{n}")[0] for n in (4, 8)]
    probes = Probes(tmp_path / "probes.json")
    problems = probing.measure_all(some, probes, 3, Console(file=io.StringIO()))
    assert problems == {one.label: "the process was killed (out of memory?)" for one in some}


def test_a_probe_keeps_its_memory_as_a_step_does(plan, here, monkeypatch, tmp_path):
    """A step's process does, and would be quicker than was forecast."""
    kept = []
    monkeypatch.setattr(probing, "keep_memory", lambda: kept.append(True))
    monkeypatch.setattr(probing, "_training", lambda one, folder: 1.0)
    [one] = shapes(plan, here, "table9/batch4")[:1]
    assert probing.attempt(one, str(tmp_path)).seconds == 1.0
    assert kept == [True]
