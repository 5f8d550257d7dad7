"""What the paper's own size costs here: `python -m benchmarks.paper_size --data voc=PATH`.

A few iterations of Table 6's training exactly as the paper tier plans it (ResNet-101, crop 513,
batch 16, output stride 16), then the evaluation of whole images at output stride 8 with six scales
and flips. Prints seconds an iteration, seconds an image, and the peak memory of each. The weights
are random unless `--weights resnet101=FILE` is given: speed does not depend on them.

On a CPU the default is one iteration; `--batch-size` shrinks the batch where the memory does not
hold the paper's 16, and the output says so.
"""

import argparse
import dataclasses
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.given import at_least_one, only
from benchmarks.networks import build, table6, tier
from replication import arguments
from replication.data.sources import Sources
from replication.errors import ReplicationError
from replication.evaluation import evaluate
from replication.network.weights import load_backbone
from replication.training import Report, train


def peak_gigabytes(device: str) -> float:
    """Peak memory so far: the process's on a CPU, the allocator's on a GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.paper_size", description=(__doc__ or "").splitlines()[0]
    )
    arguments.add_inputs(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--iterations", type=int, help="default: 10 on a GPU, 1 on a CPU")
    parser.add_argument("--batch-size", type=int, help="default: the paper's 16")
    parser.add_argument("--images", type=int, default=1, help="images to evaluate")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--skip", choices=["training", "evaluation"], default="")
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    at_least_one(
        iterations=options.iterations,
        batch_size=options.batch_size,
        images=options.images,
        threads=options.threads,
    )
    if options.batch_size == 1:
        raise ReplicationError(
            "--batch-size 1: image pooling's batch normalisation needs at least 2"
        )
    voc = only("voc", arguments.pairs(options.data, "--data", "voc=PATH"), "--data")
    form = "resnet101=FILE"
    weights = only("resnet101", arguments.pairs(options.weights, "--weights", form), "--weights")
    device = arguments.device(options.device)
    torch.set_num_threads(options.threads)
    paper = tier("paper")
    row = table6("os8-ms-flip", paper)
    network, stage, strategy = row.network, row.stage, row.evaluation
    iterations = options.iterations or (10 if device == "cuda" else 1)
    changed = {"iterations": iterations, "batch_size": options.batch_size or stage.batch_size}
    short = stage.model_copy(update=changed)
    sources = Sources.of(paper.data, {} if voc is None else {"voc": voc})
    data = sources.segmentation("voc", short.split)
    val = data
    if options.skip != "evaluation":
        val = sources.segmentation("voc", strategy.split)
    model = build(network, len(data.classes), short.output_stride)
    if weights:
        account = load_backbone(model.backbone, Path(weights))
        print(f"weights: {account}")
    model.to(device)
    print(f"{network.backbone}, torch {torch.__version__}, {device}, {options.threads} threads")
    if options.skip != "training":
        note = "" if short.batch_size == stage.batch_size else f" (the paper: {stage.batch_size})"
        print(f"training: crop {short.crop_size}, batch {short.batch_size}{note}, output stride 16")
        seconds, losses = time_training(model, short, data, device)
        print(
            f"  {statistics.median(seconds):.2f} s an iteration (median of {len(seconds)}), "
            f"loss {losses[0]:.3f} to {losses[-1]:.3f}, peak memory {peak_gigabytes(device):.2f} GB"
        )
    if options.skip != "evaluation":
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        n = min(options.images, len(val))
        val = dataclasses.replace(val, ids=val.ids[:n], sizes=val.sizes[:n])
        started = time.perf_counter()
        [counts] = evaluate(model, val, [strategy])
        seconds_each = (time.perf_counter() - started) / n
        print(
            f"evaluation: output stride 8, scales {strategy.scales}, flips, whole images\n"
            f"  {seconds_each:.2f} s an image ({n} evaluated, {counts.sum():,} pixels), "
            f"peak memory {peak_gigabytes(device):.2f} GB"
            + (" (of the whole process)" if device == "cpu" else "")
        )
    return arguments.EXIT_OK


def time_training(model, stage, data, device) -> tuple[list[float], list[float]]:  # type: ignore[no-untyped-def]
    """Seconds and loss of each iteration, one `train` call for all of them."""
    marks, losses = [time.perf_counter()], []
    original = torch.optim.SGD.step

    def step(self, *arguments, **options):  # type: ignore[no-untyped-def]
        result = original(self, *arguments, **options)
        if device == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        return result

    def report(now: Report) -> None:
        losses.append(now.loss)

    torch.optim.SGD.step = step  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(model, stage, data, seed=0, folder=Path(folder), report=report)
    finally:
        torch.optim.SGD.step = original  # type: ignore[method-assign]
    return [after - before for before, after in pairwise(marks)], losses


if __name__ == "__main__":
    sys.exit(main())
