"""A training step: our DeepLabv3 and loop beside torchvision's under its reference loop.

Both are ResNet-50, once ResNet-101, with ASPP, image pooling, no auxiliary head, at the same input,
batch and output stride. fp32 is beside fp32; bf16 is beside fp32, the plain loop as it comes, which
is what its aim is about, and beside torchvision's network under bf16 autocast. torchvision's head
has one 3x3 convolution more than the paper's; its share of the multiplications is printed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.networks import CLASSES, UNITS, build, table6, tier, torchvisions
from benchmarks.speed.alternating import Comparison, Run, alternate
from replication.environment import has_bf16
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


def their_step(model: nn.Module, x: Tensor, labels: Tensor, *, bf16: bool) -> Run:
    """torchvision's reference loop, references/segmentation/train.py, without the printing."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=10_000, power=0.9)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = model(x)["out"]
            loss = F.cross_entropy(output, labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def our_step(
    backbone: str, output_stride: int, x: Tensor, labels: Tensor, *, bf16: bool
) -> tuple[nn.Module, Run]:
    """The same as `replication.training` does it."""
    network = table6("os16", tier("paper")).network.model_copy(
        update={"backbone": backbone, "units": UNITS[backbone], "multi_grid": (1, 1, 1)}
    )
    model = build(network, CLASSES, output_stride)
    set_batch_norm(model, decay=0.9997, frozen=False, gains_too=False)
    optimizer = sgd(model, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        for group in optimizer.param_groups:
            group["lr"] = 0.007
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
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

    return model, step


def multiplications(model: nn.Module, x: Tensor) -> int:
    """Of a forward pass over one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(x[:1])
    model.train()
    return int(counter.get_total_flops())


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


def compare(repetitions: int) -> Iterator[Comparison]:
    for case in cases():
        generator = torch.Generator().manual_seed(0)
        shape = (case.batch, case.crop, case.crop)
        x = torch.randn(case.batch, 3, case.crop, case.crop, generator=generator)
        labels = torch.randint(0, CLASSES, shape, generator=generator)
        bf16 = case.ours == "bf16"
        model, ours = our_step(case.backbone, case.output_stride, x, labels, bf16=bf16)
        other = torchvisions(UNITS[case.backbone], case.output_stride)
        more = multiplications(other, x) / multiplications(model, x)
        step = their_step(other, x, labels, bf16=case.theirs == "bf16")
        of_ours, of_theirs = alternate(ours, step, repetitions)
        how = "plain loop in fp32" if case.theirs == "fp32" else "loop under bf16 autocast"
        yield Comparison(
            what=f"step, {case.backbone}, {case.crop} px, batch {case.batch}, stride "
            f"{case.output_stride}, {case.ours}",
            theirs_is=f"torchvision, {how} ({more:.2f} of our products)",
            ours=tuple(of_ours),
            theirs=tuple(of_theirs),
            pieces=case.batch,
            unit="image",
            target=case.aim,
        )
