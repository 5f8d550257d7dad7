"""Running out of memory: planted where a training begins, it becomes a line that says what fits."""

import multiprocessing

import pytest
import torch

from replication import execute, workers
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.errors import OutOfMemory
from replication.execute import Busy, Context, lacks_memory, run_job
from replication.forecast import memory
from replication.forecast.shortage import lacking
from replication.plan import build
from replication.runs import Store
from replication.spec import load_tables
from replication.tiers import load_tier
from replication.workers import _outcome

TIER = load_tier("smoke", HOME / "tiers")
SOURCES = Sources.of(TIER.data, {})


@pytest.fixture
def job():
    tables = [table for table in load_tables(HOME / "tables") if table.number == 9]
    plan = build(tables, TIER, SOURCES, [0], only=["table9/batch4"])
    return (plan.of_kind("pretrain")[0],)


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    store = Store(tmp_path / "results")
    store.prepare()
    return Context(
        store=store, sources=SOURCES, device="cpu", threads=1, checkpoint_seconds=60.0,
        weights={}, progress=lambda *_: None, should_stop=lambda: False,
    )  # fmt: skip


def plant(monkeypatch, error):
    def instead(*_, **__):
        raise error

    monkeypatch.setattr(execute, "pretrain", instead)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError("Unable to allocate 3 GiB for an array"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4000000000 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("not enough memory: you tried to allocate 4000000000 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["torch's own", "numpy's", "Linux", "Windows", "cuBLAS"],
)
def test_the_line_says_what_would_fit(job, context, monkeypatch, error):
    plant(monkeypatch, error)
    config = job[0].config
    needed = memory.of_training(config, 12, "cpu").total
    monkeypatch.setattr(execute, "main_memory", lambda: needed - 1)
    with pytest.raises(OutOfMemory) as told:
        run_job(job, context)
    said = str(told.value)
    assert said.startswith("out of memory at batch 8, crop 49 (needs about 0.4")
    assert "a batch of 7 or a crop of 41 would fit" in said
    assert "each changes the result" in said and "\n" not in said


def test_it_is_a_failed_row_and_what_was_begun_is_kept(job, context, monkeypatch):
    """No outcome is recorded: on a larger machine the step goes on from its checkpoint."""
    plant(monkeypatch, MemoryError())
    checkpoint = context.store.begin(job[0]) / "checkpoint.safetensors"
    checkpoint.write_bytes(b"kept")
    kind, text, fatal = _outcome(lambda: run_job(job, context), Busy, job, context.store)
    assert kind == "failed" and text.startswith("out of memory at batch 8") and not fatal
    assert context.store.status(job[0]) == "partial" and checkpoint.read_bytes() == b"kept"


class Killer:
    """A display that kills the worker, as the system does where memory runs out."""

    def started(self, job):
        [worker] = multiprocessing.active_children()
        worker.kill()

    def ended(self, job, problem):
        pass


def test_a_killed_worker_says_what_would_fit(context, monkeypatch):
    tables = [table for table in load_tables(HOME / "tables") if table.number == 9]
    plan = build(tables, TIER, SOURCES, [0], only=["table9/batch4"])
    [pretraining] = plan.of_kind("pretrain")
    needed = memory.of_training(pretraining.config, 12, "cpu").total
    monkeypatch.setattr(workers, "main_memory", lambda: needed - 1)
    options = workers.Options(
        device="cpu", workers=1, threads=1, checkpoint_seconds=60.0, fail_fast=False, weights={}
    )
    summary = workers.run(plan, context.store, SOURCES, options, Killer())
    [said] = summary.failed.values()
    assert said.startswith("the worker process was killed: out of memory? at batch 8, crop 49")
    assert "a batch of 7 or a crop of 41 would fit" in said and "\n" not in said
    assert context.store.status(pretraining) in ("missing", "partial") and len(summary.not_run) == 2


def test_small_jobs_side_by_side_may_be_too_many(job):
    needed = memory.of_training(job[0].config, 12, "cpu").total
    said = lacking(job, SOURCES, "cpu", 2.5 * needed, 4)
    assert "4 such side by side are too many; --workers 2 would fit" in said
    assert "something else may be using" in lacking(job, SOURCES, "cpu", 4.5 * needed, 4)
    # A single one that is too large is the matter, however many there are.
    assert "would fit; none is chosen" in lacking(job, SOURCES, "cpu", needed - 1, 4)


def test_other_errors_stay_what_they_are(job, context, monkeypatch):
    plant(monkeypatch, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_job(job, context)


def test_torchs_allocator_really_says_so():
    """An allocation beyond any address space."""
    with pytest.raises(RuntimeError) as told:
        torch.empty(2**60, dtype=torch.uint8)
    assert lacks_memory(told.value)
    assert not lacks_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
