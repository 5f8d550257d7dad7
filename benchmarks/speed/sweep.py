"""Evaluation: Table 4's four rows in one sweep beside one by one; counting beside torchmetrics."""

from collections.abc import Iterator
from unittest.mock import patch

import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from benchmarks.networks import build, tier
from benchmarks.sets import first
from benchmarks.speed.alternating import Comparison, compared
from replication import evaluation
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.evaluation import count, evaluate
from replication.inference import BATCH_PIXELS
from replication.network import pointwise
from replication.spec import load_tables
from replication.tiers import scale

IMAGES = 62
MANY = 31
# One sweep in at most 0.65 of the time of the rows one by one.
AIM = 1 / 0.65


def compare(repetitions: int) -> Iterator[Comparison]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield from _sweeps(repetitions)
    for crop in (513, 65):
        yield _counting(repetitions, crop)
    torch.set_num_threads(threads)


def _sweeps(repetitions: int) -> Iterator[Comparison]:
    micro = tier("micro")
    cells = [scale(cell, micro) for cell in load_tables(HOME / "tables", [4])[0].cells]
    rows = [cell.evaluation for cell in cells if cell.evaluation is not None]
    network = cells[0].network
    assert network is not None
    data = first(Sources.of(micro.data, {}).segmentation("voc", "dev"), IMAGES)
    model = build(network, len(data.classes), 16)

    def together() -> None:
        evaluate(model, data, rows)

    def one_by_one() -> None:
        for row in rows:
            evaluate(model, data, [row])

    def at_once() -> None:
        with patch.dict(BATCH_PIXELS, cpu=MANY * 65**2):
            evaluate(model, data, rows)

    def not_folded() -> None:
        with patch.object(evaluation, "folded", lambda network: network.eval()):
            evaluate(model, data, rows)

    def not_by_name() -> None:
        with patch.object(pointwise, "ONEDNN", False):
            evaluate(model, data, rows)

    for what, theirs_is, theirs, target in (
        ("evaluation, 1x1 convolutions by oneDNN", "by torch's choice", not_by_name, None),
        (
            "evaluation, batch normalisation folded into convolutions",
            "the network as it was trained",
            not_folded,
            None,
        ),
        (
            f"evaluation in batches of {BATCH_PIXELS['cpu'] // 65**2}",
            f"in batches of {MANY}",
            at_once,
            None,
        ),
        ("evaluation, Table 4's four rows in one sweep", "row by row", one_by_one, AIM),
    ):
        yield compared(
            together,
            theirs,
            repetitions,
            what=what,
            theirs_is=theirs_is,
            pieces=IMAGES,
            unit="image",
            target=target,
        )


def _counting(repetitions: int, side: int) -> Comparison:
    """21 x 21 counts of each of 32 pictures; predictions are int64, as argmax gives them."""
    generator = torch.Generator().manual_seed(0)
    size = (32, side, side)
    masks = torch.randint(0, 21, size, generator=generator, dtype=torch.uint8)
    masks[torch.rand(size, generator=generator) < 0.05] = 255
    predicted = torch.randint(0, 21, size, generator=generator)
    metric = MulticlassConfusionMatrix(21, ignore_index=255, validate_args=False)

    def ours() -> None:
        count(predicted, masks, 21)

    def theirs() -> None:
        for prediction, mask in zip(predicted, masks, strict=True):
            metric(prediction, mask.long())

    return compared(
        ours,
        theirs,
        repetitions,
        what=f"confusion counts a picture, {side} px, 21 classes",
        theirs_is="torchmetrics",
        pieces=len(masks),
        unit="image",
    )
