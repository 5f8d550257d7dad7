"""Making the probes: the real training loop and evaluation, for a moment, on generated pictures."""

import gc
import math
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from replication.allocation import keep_memory
from replication.data.cache import Decoded, Labelled
from replication.evaluation import evaluate
from replication.execute import lacks_memory, place
from replication.forecast.probes import Probe, Probes, Shape
from replication.network.deeplab import build, build_classifier
from replication.protocol import Evaluation, Network, Pretraining, Stage
from replication.training import pretrain, train

# Repetitions of which the median counts; each is of as many iterations as fit into SECONDS.
REPETITIONS = 3
SECONDS = 1.0
MOST_ITERATIONS = 50
# Small enough that random pictures and masks cannot let the loss diverge.
LEARNING_RATE = 1e-9
KILLED = "the process was killed (out of memory?)"


def measure_all(
    shapes: Sequence[Shape], probes: Probes, workers: int, console: Console
) -> dict[str, str]:
    """Measure the shapes, `workers` at a time as steps will run; returns problems by label.

    Each measurement is kept as soon as it is made. None has idle neighbours, which would make it
    quicker than the steps will be: where no shape is left to start, earlier ones are repeated.
    Where a process is killed, what was being measured is measured again, one suspect at a time.
    """
    problems: dict[str, str] = {}
    measured = 0
    queue, company, suspects = deque(shapes), deque(shapes), deque[Shape]()
    # Not a folder of each process: one that is ended leaves its files behind.
    with tempfile.TemporaryDirectory() as folder, console.status("") as status:
        while queue or suspects:
            alone = not queue
            if alone:
                queue.append(suspects.popleft())
            with _processes(workers) as pool:
                for one, result in _measured(queue, company, pool, workers, folder):
                    if isinstance(result, Probe):
                        probes.keep(one, result, workers)
                        measured += 1
                    elif result == KILLED and not alone:
                        suspects.append(one)
                    else:
                        problems[one.label] = result
                    status.update(f"probes: {measured + len(problems)}/{len(shapes)}")
    return problems


def _measured(
    queue: deque[Shape], company: deque[Shape], pool: Executor, workers: int, folder: str
) -> Iterator[tuple[Shape, Probe | str]]:
    """The queue's shapes and what became of them, until it is empty or a process is killed.

    Repeated beside them is the company, and dropped from it what cannot be measured.
    """
    running: dict[Future[Probe | str], tuple[Shape, bool]] = {}
    while queue or any(counts for _, counts in running.values()):
        while len(running) < workers and (queue or company):
            one, counts = (queue or company)[0], bool(queue)
            try:
                running[pool.submit(attempt, one, folder)] = one, counts
            except BrokenProcessPool:
                if not running:
                    return
                break
            if counts:
                queue.popleft()
            else:
                company.rotate(-1)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            one, counts = running.pop(future)
            result = _of(future)
            # Killed in company, it was most likely the other one.
            if one in company and not isinstance(result, Probe) and (counts or result != KILLED):
                company.remove(one)
            elif one not in company and isinstance(result, Probe):
                company.append(one)
            if counts:
                yield one, result


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """A pool; what it still runs at the end is ended, as nobody waits for it."""
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        for process in set(active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _of(future: "Future[Probe | str]") -> Probe | str:
    try:
        return future.result()
    except BrokenProcessPool:
        return KILLED


def attempt(one: Shape, folder: str) -> Probe | str:
    """Measure a shape, with its files in the folder; or why not, where memory is what lacks."""
    try:
        return measure(one, folder)
    except (MemoryError, RuntimeError) as problem:
        if not lacks_memory(problem):
            raise
        return "out of memory"


def measure(one: Shape, folder: str) -> Probe:
    """Seconds of one iteration of the shape, or of its pictures; `folder` is for its files."""
    torch.set_num_threads(one.threads)
    if one.kind == "cpu":
        keep_memory()  # as a step does
    if one.kind == "cuda":
        gc.collect()  # what an earlier probe of this process left
        torch.cuda.reset_peak_memory_stats()
    seconds = _evaluation(one) if one.pictures else _training(one, folder)
    memory = float(torch.cuda.max_memory_allocated()) if one.kind == "cuda" else None
    return Probe(seconds=seconds, flops=one.effort.flops, memory=memory)


def _training(one: Shape, within: str) -> float:
    config = one.configs[0]
    network = Network.model_validate(config["network"])
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory(dir=within) as folder:
        if "pretraining" in config:
            pretraining = Pretraining.model_validate(config["pretraining"])
            classifier = build_classifier(
                network, one.classes, pretraining.output_stride, generator
            )
            place(classifier, one.kind)
            labelled = _labelled(one, pretraining.batch_size)

            def run(iterations: int) -> None:
                changed = {"iterations": iterations, "learning_rate": LEARNING_RATE}
                pretrain(
                    classifier, pretraining.model_copy(update=changed), labelled, seed=0,
                    folder=Path(folder), report=lambda _: None, checkpoint_seconds=math.inf,
                )  # fmt: skip
        else:
            stage = Stage.model_validate(config["stage"])
            model = build(network, one.classes, stage.output_stride, generator)
            place(model, one.kind)
            pictures = _decoded(one, stage.batch_size)

            def run(iterations: int) -> None:
                changed = {
                    "iterations": iterations, "learning_rate": LEARNING_RATE, "duplicate": (),
                }  # fmt: skip
                train(
                    model, stage.model_copy(update=changed), pictures, seed=0,
                    folder=Path(folder), report=lambda _: None, checkpoint_seconds=math.inf,
                )  # fmt: skip

        run(1)  # allocates, and lets libraries choose their kernels
        return _timed(run)


def _timed(run: Callable[[int], None]) -> float:
    """Seconds of one iteration of `run(iterations)`, which ends with a wait for the device."""
    first = _seconds(lambda: run(1))
    iterations = min(MOST_ITERATIONS, max(1, int(SECONDS / max(first, 1e-6))))
    if iterations == 1:
        return first
    times = [_seconds(lambda: run(iterations)) / iterations for _ in range(REPETITIONS)]
    return statistics.median(times)


def _evaluation(one: Shape) -> float:
    config = one.configs[0]
    network = Network.model_validate(config["network"])
    strategies = [Evaluation.model_validate(each["evaluation"]) for each in one.configs]
    generator = torch.Generator().manual_seed(0)
    model = build(network, one.classes, strategies[0].output_stride, generator)
    place(model, one.kind)
    pictures = _decoded(one, one.pictures)
    first = _seconds(lambda: evaluate(model, pictures, strategies))
    if first > REPETITIONS * SECONDS:
        return first
    times = [_seconds(lambda: evaluate(model, pictures, strategies)) for _ in range(REPETITIONS)]
    return statistics.median(times)


def _seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def _decoded(one: Shape, count: int) -> Decoded:
    """Pictures of noise, of the shape's size and classes."""
    height, width = one.picture
    random, pixels = np.random.default_rng(0), count * height * width
    return Decoded(
        split="probe",
        ids=tuple(map(str, range(count))),
        classes=tuple(map(str, range(one.classes))),
        sizes=np.array([one.picture] * count, dtype=np.int64),
        offsets=np.arange(count, dtype=np.int64) * (height * width),
        pixels=random.integers(0, 256, (pixels, 3), dtype=np.uint8),
        labels=random.integers(0, one.classes, pixels, dtype=np.uint8),
    )


def _labelled(one: Shape, count: int) -> Labelled:
    random = np.random.default_rng(0)
    return Labelled(
        images=random.integers(0, 256, (count, *one.picture, 3), dtype=np.uint8),
        labels=random.integers(0, one.classes, count),
        classes=tuple(map(str, range(one.classes))),
    )
