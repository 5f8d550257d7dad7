"""Run a plan's jobs side by side in worker processes, and account for every step."""

import errno
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from replication.data.sources import Sources
from replication.errors import Diverged, ReplicationError
from replication.forecast.devices import main_memory
from replication.forecast.shortage import lacking
from replication.plan import Plan, sweeps, work
from replication.runs import Step, Store

POLL_SECONDS = 1.0
GRACE_SECONDS = 60.0
STOPPED = "stopped"

Job = tuple[Step, ...]


class Display(Protocol):
    """Told what happens; see `progress`."""

    def started(self, job: Job) -> None: ...
    def advanced(self, job: Job, done: int, total: int, facts: Mapping[str, float]) -> None: ...
    def ended(self, job: Job, problem: str | None) -> None: ...
    def waiting(self, job: Job) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run; nothing here changes a result."""

    device: str
    workers: int
    threads: int
    checkpoint_seconds: float
    fail_fast: bool
    weights: Mapping[str, Path]


@dataclass(kw_only=True)
class Summary:
    """What became of the plan's steps."""

    done: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        return not (self.failed or self.not_run or self.interrupted)


@dataclass(kw_only=True, eq=False)
class _Worker:
    process: Any
    pipe: Connection
    job: Job | None = None


def run(plan: Plan, store: Store, sources: Sources, options: Options, display: Display) -> Summary:
    """Run what is missing. A failure ends only what depends on it, unless `fail_fast`.

    On Ctrl-C the workers write checkpoints and stop; the summary says `interrupted`.
    """
    summary = on_record(plan, store)
    recorded = {*summary.done, *summary.failed}
    queue = jobs(plan, [step for step in plan.steps.values() if step.id not in recorded])
    pool = [_start(store, sources, options) for _ in range(min(options.workers, len(queue)))]
    elsewhere: dict[Job, float] = {}
    halted = False
    try:
        while queue or any(worker.job for worker in pool):
            _drop_orphans(plan, queue, summary)
            if halted:
                queue.clear()
            for place, worker in enumerate(pool):
                job = None if worker.job else _next(queue, summary.done, elsewhere)
                if job is not None:
                    pool[place] = _handed(job, worker, store, sources, options)
                    display.started(job)
            ready = wait([worker.pipe for worker in pool if worker.job], timeout=POLL_SECONDS)
            for worker in [worker for worker in pool if worker.pipe in ready]:
                halted |= _listen(
                    worker, queue, elsewhere, store, sources, summary, display, options
                )
                if worker.job is None and not worker.process.is_alive():
                    pool[pool.index(worker)] = _start(store, sources, options)
            if not ready and not any(worker.job for worker in pool):
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        _stop(pool)
    for id_ in plan.steps:
        if id_ not in summary.done and id_ not in summary.failed:
            summary.not_run.setdefault(id_, "interrupted" if summary.interrupted else "not started")
    return summary


def on_record(plan: Plan, store: Store) -> Summary:
    """What became of the plan's steps in earlier runs."""
    status = {id_: store.status(step) for id_, step in plan.steps.items()}
    return Summary(
        done=[id_ for id_, state in status.items() if state == "done"],
        failed={
            id_: store.outcome(id_)["error"] for id_, state in status.items() if state == "failed"
        },
    )


def jobs(plan: Plan, steps: Sequence[Step]) -> list[Job]:
    """Evaluations grouped into sweeps; then the longest chains first, so that none is left last."""
    evaluations = [tuple(sweep) for sweep in sweeps(s for s in steps if s.kind == "evaluate")]
    trainings: list[Job] = [(step,) for step in steps if step.kind != "evaluate"]
    behind: dict[str, float] = {}

    def weight(step: Step) -> float:
        if step.id not in behind:
            behind[step.id] = work(step) + max(map(weight, plan.children(step.id)), default=0.0)
        return behind[step.id]

    return evaluations + sorted(trainings, key=lambda job: -weight(job[0]))


def _next(queue: list[Job], done: Iterable[str], elsewhere: dict[Job, float]) -> Job | None:
    finished, now = set(done), time.monotonic()
    for job in queue:
        parent = job[0].parent
        if (parent is None or parent in finished) and elsewhere.get(job, 0.0) <= now:
            queue.remove(job)
            return job
    return None


def _handed(job: Job, worker: _Worker, store: Store, sources: Sources, options: Options) -> _Worker:
    """Who has the job now: the worker, or another one where it was killed while it had nothing."""
    try:
        worker.pipe.send(job)
    except OSError:
        worker = _start(store, sources, options)
        worker.pipe.send(job)
    worker.job = job
    return worker


def _drop_orphans(plan: Plan, queue: list[Job], summary: Summary) -> None:
    """Give up on jobs whose parent failed or was given up."""
    while True:
        lost = [
            job
            for job in queue
            if job[0].parent in summary.failed or job[0].parent in summary.not_run
        ]
        if not lost:
            return
        for job in lost:
            queue.remove(job)
            for step in job:
                summary.not_run[step.id] = f"needs {plan.labels[step.parent or '']}, which failed"


def _listen(
    worker: _Worker,
    queue: list[Job],
    elsewhere: dict[Job, float],
    store: Store,
    sources: Sources,
    summary: Summary,
    display: Display,
    options: Options,
) -> bool:
    """Take one message of a worker; True if nothing more should be started."""
    job = worker.job
    assert job is not None
    try:
        kind, *details = worker.pipe.recv()
    except (EOFError, ConnectionResetError):  # reset: it ended before it read its job
        worker.process.join()
        code = worker.process.exitcode
        kind, details = "failed", [f"the worker process ended with exit code {code}", False]
        if code == -signal.SIGKILL:
            details[0] = _killed(job, sources, options)
    if kind == "progress":
        display.advanced(job, *details)
        return False
    worker.job = None
    if kind == "busy":
        elsewhere[job] = time.monotonic() + POLL_SECONDS
        queue.append(job)
        display.waiting(job)
        return False
    if kind == STOPPED:
        for step in job:
            summary.not_run[step.id] = "interrupted"
        return True
    if kind == "done":
        summary.done += [step.id for step in job]
        summary.ran += details[0]
        display.ended(job, None)
        return False
    problem, fatal = details
    for step in job:
        if store.status(step) == "done":
            summary.done.append(step.id)
        else:
            summary.failed[step.id] = problem
    display.ended(job, problem)
    return fatal or options.fail_fast


def _killed(job: Job, sources: Sources, options: Options) -> str:
    """Why a worker was killed, most likely: a CPU's memory ran out, and what would fit into it."""
    said = "the worker process was killed"
    if options.device != "cpu":
        return f"{said} (out of memory? the machine's, not the GPU's)"
    needs = lacking(job, sources, "cpu", main_memory(), options.workers)
    return f"{said}: out of memory? {needs}"


def _start(store: Store, sources: Sources, options: Options) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, store, sources, options, os.getpid()), daemon=True
    )
    process.start()
    theirs.close()
    return _Worker(process=process, pipe=ours)


def _stop(pool: Sequence[_Worker]) -> None:
    """Ask every worker to write its checkpoint and end; kill what does not."""
    for worker in pool:
        if worker.job:
            worker.process.terminate()
        else:
            worker.pipe.close()
    deadline = time.monotonic() + GRACE_SECONDS
    for worker in pool:
        try:
            while worker.process.is_alive() and time.monotonic() < deadline:
                if worker.job and worker.pipe.poll(0.1) and worker.pipe.recv()[0] == STOPPED:
                    worker.job = None
                    worker.pipe.close()
                else:
                    worker.process.join(0.1)
        except (EOFError, OSError):
            pass
        if worker.process.is_alive():
            worker.process.kill()


def _serve(pipe: Connection, store: Store, sources: Sources, options: Options, parent: int) -> None:
    """A worker process: run jobs until the pipe closes."""
    stop = False

    def stop_soon(*_: Any) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop_soon)
    # Here, not above: the parent plans and renders without torch.
    from replication.execute import Busy, Context, run_job

    context = Context(
        store=store,
        sources=sources,
        device=options.device,
        threads=options.threads,
        checkpoint_seconds=options.checkpoint_seconds,
        weights=options.weights,
        progress=lambda done, total, facts: pipe.send(("progress", done, total, facts)),
        should_stop=lambda: stop or os.getppid() != parent,
    )
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(_outcome(partial(run_job, job, context), Busy, job, store))
        except OSError:  # the parent is gone
            return


def _outcome(
    run: Callable[[], list[str]], busy: type[Exception], job: Job, store: Store
) -> tuple[Any, ...]:
    """Run a job; what to tell the parent. ("failed", text, whether the others would fail too)."""
    try:
        return ("done", run())
    except busy:
        return ("busy",)
    except KeyboardInterrupt:
        return (STOPPED,)
    except Diverged as problem:
        return ("failed", f"{problem}; log: {store.path(job[0].id) / 'log.jsonl'}", False)
    except ReplicationError as problem:
        return ("failed", str(problem), False)
    except OSError as problem:
        where = problem.filename or store.folder
        fatal = problem.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT)
        return ("failed", f"{where}: {problem.strerror or problem}", fatal)
    except Exception as problem:
        trace = store.partial(job[0].id) / "traceback.txt"
        try:
            trace.write_text(traceback.format_exc())
            where = f"; traceback: {trace}"
        except OSError:
            where = ""
        return ("failed", f"{type(problem).__name__}: {problem}{where}", False)
