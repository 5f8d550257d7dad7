"""A training step: our DeepLabv3 and loop beside torchvision's under its reference loop.

Both are ResNet-50 (or 101) with ASPP, image pooling, no auxiliary head, at the same input, batch,
precision and output stride. torchvision's head has one 3x3 convolution more than the paper's; its
share of the multiplications is printed.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50, resnet101
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

from benchmarks.speed.alternating import Comparison, Run, alternate
from replication.environment import has_bf16
from replication.network import deeplab
from replication.spec import load_tables
from replication.training import segmentation_loss, set_batch_norm, sgd

CLASSES = 21
HOME = Path(__file__).resolve().parents[2]
# (crop, batch): the micro tier's, twice that, and the paper's crop.
SHAPES = ((65, 16), (129, 16), (513, 4))
AIMS = {"fp32": 1.3, "bf16": 3.0}


def theirs(backbone: str, output_stride: int) -> nn.Module:
    """torchvision's network; its builder knows output stride 8 only, its parts know 16 too."""
    make = {"resnet50": resnet50, "resnet101": resnet101}[backbone]
    replaced = [False, output_stride == 8, True]
    body = IntermediateLayerGetter(
        make(weights=None, replace_stride_with_dilation=replaced), {"layer4": "out"}
    )
    rates = [rate * 16 // output_stride for rate in (6, 12, 18)]
    return DeepLabV3(body, DeepLabHead(2048, CLASSES, rates))


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
    cell = load_tables(HOME / "tables", [5])[0].cell("mg124-pooling")
    assert cell.network is not None
    units = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}[backbone]
    changed = {"backbone": backbone, "units": units, "multi_grid": (1, 1, 1)}
    network = cell.network.model_copy(update=changed)
    model = deeplab.build(network, CLASSES, output_stride, torch.Generator().manual_seed(0))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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


def compare(repetitions: int, *, backbone: str = "resnet50") -> Iterator[Comparison]:
    for precision in ("fp32", *(("bf16",) if has_bf16() else ())):
        for crop, batch in SHAPES:
            for output_stride in (16, 8):
                generator = torch.Generator().manual_seed(0)
                x = torch.randn(batch, 3, crop, crop, generator=generator)
                labels = torch.randint(0, CLASSES, (batch, crop, crop), generator=generator)
                model, ours = our_step(backbone, output_stride, x, labels, bf16=precision == "bf16")
                other = theirs(backbone, output_stride)
                more = multiplications(other, x) / multiplications(model, x)
                # The plain loop knows one precision: bf16 is measured against it too.
                step = their_step(other, x, labels, bf16=False)
                of_ours, of_theirs = alternate(ours, step, repetitions)
                aim = AIMS[precision] if precision == "fp32" or crop == 513 else None
                yield Comparison(
                    what=f"step, {backbone}, {crop} px, batch {batch}, stride {output_stride}, "
                    f"{precision}",
                    theirs_is=f"torchvision, plain loop, fp32 ({more:.2f} of our products)",
                    ours=tuple(of_ours),
                    theirs=tuple(of_theirs),
                    pieces=batch,
                    unit="image",
                    target=aim,
                )
