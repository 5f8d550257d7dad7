"""The work whose growth is measured: micro trainings and evaluations, one thread."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.growth.curves import Curve, Run, measured
from benchmarks.networks import build, table6, tier
from benchmarks.sets import first
from replication.allocation import keep_memory
from replication.data.sources import Sources
from replication.evaluation import evaluate
from replication.training import train

ITERATIONS = 4
IMAGES = 32
SCALES = (1.0, 0.5, 0.75, 1.25, 1.5, 1.75)


class Work:
    """Table 6's training at the micro tier, and its evaluation; both can be changed."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        keep_memory()
        micro = tier("micro")
        self.row = table6("os16", micro)
        sources = Sources.of(micro.data, {})
        self.pictures = sources.segmentation("voc", "trainaug")
        self.dev = sources.segmentation("voc", "dev")

    def training(self, iterations: int = ITERATIONS, **changes: object) -> Run:
        stage = self.row.stage.model_copy(update={"iterations": iterations, **changes})
        model = build(self.row.network, 13, stage.output_stride)

        def run() -> None:
            with tempfile.TemporaryDirectory() as scratch:
                train(
                    model, stage, self.pictures, seed=0, folder=Path(scratch),
                    report=lambda _: None, checkpoint_seconds=1e9,
                )  # fmt: skip

        return run

    def evaluating(self, images: int = IMAGES, **changes: object) -> Run:
        strategy = self.row.evaluation.model_copy(update=changes)
        model = build(self.row.network, 13, 16)
        data = first(self.dev, images)
        return lambda: evaluate(model, data, [strategy])


def curves(repetitions: int) -> Iterator[Curve]:
    """Each quantity alone; all else is the micro tier's Table 6."""
    work = Work()

    def curve(
        what: str, against: str, runs: dict[float, Run], *, fitted: bool = True, note: str = ""
    ) -> Curve:
        sizes, seconds = measured(runs, repetitions)
        return Curve(
            what=what, against=against, sizes=sizes, seconds=seconds, fitted=fitted, note=note
        )

    yield curve(
        "A training, by its iterations", "iterations",
        {n: work.training(n) for n in (2, 4, 8, 16, 32)},
    )  # fmt: skip
    yield curve(
        f"{ITERATIONS} iterations, by the crop", "pixels a side",
        {n: work.training(crop_size=n) for n in (33, 65, 97, 129, 193)},
        note="2 would be the pixels' own growth.",
    )  # fmt: skip
    yield curve(
        f"{ITERATIONS} iterations, by the batch", "pictures",
        {n: work.training(batch_size=n) for n in (4, 8, 16, 32, 64)},
    )  # fmt: skip
    yield curve(
        f"{ITERATIONS} iterations, by the output stride", "output stride",
        {n: work.training(output_stride=n) for n in (4, 8, 16, 32)},
        note="-2 would be the growth of the last block's and the head's features; what comes "
        "before them does not change.",
    )  # fmt: skip
    yield curve(
        "An evaluation at output stride 16, by the size of the set", "pictures",
        {n: work.evaluating(n) for n in (16, 32, 64, 128, 256)},
    )  # fmt: skip
    yield curve(
        f"An evaluation of {IMAGES} pictures at output stride 8 with flips, by its scales",
        "scales",
        {n: work.evaluating(output_stride=8, flip=True, scales=SCALES[:n]) for n in (1, 2, 4, 6)},
        fitted=False,
        note="The scales are 1, 0.5, 0.75, 1.25, 1.5, 1.75 in this order: the last cost most.",
    )  # fmt: skip
