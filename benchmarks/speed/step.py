"""A training step: our DeepLabv3 and loop beside torchvision's under its reference loop.

Both are ResNet-50, once ResNet-101, with ASPP, image pooling, no auxiliary head, at the same input,
batch and output stride, each in a process of its own. fp32 is beside fp32; bf16 is beside fp32, the
plain loop as it comes, which is what its aim is about, and beside torchvision's network under bf16
autocast. torchvision's head has one 3x3 convolution more than the paper's, and multiplies by
weights that reach no feature map; what it so multiplies is printed beside ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.networks import CLASSES, UNITS, build, table6, tier, torchvisions
from benchmarks.speed.alternating import Comparison, Run, alternate
from benchmarks.speed.apart import apart
from replication.allocation import keep_memory
from replication.environment import has_bf16
from replication.network.deeplab import DeepLabV3
from replication.protocol import Network
from replication.training import segmentation_loss, set_batch_norm, sgd

# (crop, batch): the micro tier's, twice that, and the paper's crop.
SHAPES = ((65, 16), (129, 16), (513, 4))
AIMS = {"fp32": 1.3, "bf16": 3.0}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison; the precisions are "fp32" or "bf16"."""

    crop: int
    batch: int
    output_stride: int
    backbone: str = "resnet50"
    ours: str = "fp32"
    theirs: str = "fp32"
    aim: float | None = None

    @property
    def name(self) -> str:
        return (
            f"step, {self.backbone}, {self.crop} px, batch {self.batch}, "
            f"stride {self.output_stride}, {self.ours}"
        )


def theirs(case: Case) -> Run:
    """torchvision's reference loop, references/segmentation/train.py, without the printing."""
    x, labels = _batch(case)
    model = torchvisions(UNITS[case.backbone], case.output_stride)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=10_000, power=0.9)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.theirs == "bf16"):
            output = model(x)["out"]
            loss = F.cross_entropy(output, labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def ours(case: Case) -> Run:
    """The same as a run has it: `replication.training` in a process that keeps its memory."""
    keep_memory()
    x, labels = _batch(case)
    model = build(_network(case.backbone), CLASSES, case.output_stride)
    set_batch_norm(model, decay=0.9997, frozen=False, gains_too=False)
    optimizer = sgd(model, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        for group in optimizer.param_groups:
            group["lr"] = 0.007
        with torch.autocast("cpu", torch.bfloat16, enabled=case.ours == "bf16"):
            logits = model.coarse_logits(x, generator)
        loss = segmentation_loss(
            logits.float(),
            labels,
            upsample_logits=True,
            align_corners=True,
            label_grid="corners",
            normalisation="valid",
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _batch(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (case.batch, case.crop, case.crop)
    x = torch.randn(case.batch, 3, case.crop, case.crop, generator=generator)
    return x, torch.randint(0, CLASSES, shape, generator=generator)


def _network(backbone: str) -> Network:
    network = table6("os16", tier("paper")).network
    return network.model_copy(
        update={"backbone": backbone, "units": UNITS[backbone], "multi_grid": (1, 1, 1)}
    )


def more_products(case: Case) -> float:
    """What torchvision's network multiplies in a forward pass, over what ours does."""
    from torch.utils.flop_counter import FlopCounterMode

    counted = []
    with torch.device("meta"):
        x = torch.zeros(1, 3, case.crop, case.crop)
        for model in (
            torchvisions(UNITS[case.backbone], case.output_stride),
            DeepLabV3(_network(case.backbone), CLASSES, case.output_stride),
        ):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                model.eval()(x)
            counted.append(counter.get_total_flops())
    return counted[0] / counted[1]


def cases() -> Iterator[Case]:
    """The plain loop knows one precision: the aim for bf16 is beside fp32."""
    for crop, batch in SHAPES:
        for output_stride in (16, 8):
            yield Case(crop=crop, batch=batch, output_stride=output_stride, aim=AIMS["fp32"])
    yield Case(backbone="resnet101", crop=513, batch=2, output_stride=16, aim=AIMS["fp32"])
    for crop, batch in SHAPES if has_bf16() else ():
        for output_stride in (16, 8):
            for theirs in ("fp32", "bf16"):
                aimed_at = theirs == "fp32" and crop == 513
                yield Case(
                    crop=crop, batch=batch, output_stride=output_stride, ours="bf16",
                    theirs=theirs, aim=AIMS["bf16"] if aimed_at else None,
                )  # fmt: skip


def compare(repetitions: int, named: str = "") -> Iterator[Comparison]:
    """The cases that have `named` in their names; by default all."""
    for case in cases():
        if named not in case.name:
            continue
        with apart(ours, case) as our_step, apart(theirs, case) as their_step:
            of_ours, of_theirs = alternate(our_step, their_step, repetitions)
        how = "plain loop in fp32" if case.theirs == "fp32" else "loop under bf16 autocast"
        yield Comparison(
            what=case.name,
            theirs_is=f"torchvision, {how} ({more_products(case):.2f} of our products)",
            ours=tuple(of_ours),
            theirs=tuple(of_theirs),
            pieces=case.batch,
            unit="image",
            target=case.aim,
        )
