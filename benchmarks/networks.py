"""The networks that are measured: the paper's Table 6, and torchvision's DeepLabv3 beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.deeplabv3 import DeepLabV3 as TheirDeepLab

from replication.arguments import HOME
from replication.arithmetic import products
from replication.network import deeplab
from replication.network.deeplab import DeepLabV3
from replication.protocol import Evaluation, Network, Stage
from replication.spec import load_tables
from replication.tiers import Tier, load_tier, scale
from replication.training import segmentation_loss, set_batch_norm, sgd

CLASSES = 21
# Units of block1 to block4.
UNITS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of Table 6: its network, the last stage of its training, its evaluation."""

    network: Network
    stage: Stage
    evaluation: Evaluation


def tier(name: str) -> Tier:
    return load_tier(name, HOME / "tiers")


def table6(row: str, of: Tier) -> Row:
    """A row at a tier: ASPP (6, 12, 18), image pooling, multi-grid (1, 2, 4)."""
    (table,) = load_tables(HOME / "tables", [6])
    cell = scale(table.cell(row), of)
    assert cell.network is not None and cell.evaluation is not None
    return Row(network=cell.network, stage=cell.stages[-1].stage, evaluation=cell.evaluation)


def build(
    network: Network, classes: int, output_stride: int, device: torch.device | str = "cpu"
) -> DeepLabV3:
    """Our network as a run has it: the same weights every time, channels last."""
    model = deeplab.build(network, classes, output_stride, torch.Generator().manual_seed(0))
    model.to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def torchvisions(units: Sequence[int], output_stride: int) -> nn.Module:
    """torchvision's network without auxiliary head; its `out` has the input's size.

    Its builder knows output stride 8 only, its parts know 16 too.
    """
    replaced = [False, output_stride == 8, True]
    body = ResNet(Bottleneck, list(units), replace_stride_with_dilation=replaced)
    rates = [rate * 16 // output_stride for rate in (6, 12, 18)]
    return TheirDeepLab(
        IntermediateLayerGetter(body, {"layer4": "out"}), DeepLabHead(2048, CLASSES, rates)
    )


def iteration(model: DeepLabV3, stage: Stage, classes: int) -> Callable[[], object]:
    """One iteration as a training has it, on noise, again and again."""
    generator = torch.Generator().manual_seed(0)
    shape = (stage.batch_size, stage.crop_size, stage.crop_size)
    x = torch.randn(shape[0], 3, *shape[1:], generator=generator)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, classes, shape, generator=generator)
    optimizer = sgd(model, momentum=stage.momentum, weight_decay=stage.weight_decay)
    dropped = torch.Generator().manual_seed(0)

    def run() -> None:
        model.set_output_stride(stage.output_stride)
        set_batch_norm(model, decay=stage.bn_decay, frozen=False, gains_too=False)
        optimizer.zero_grad(set_to_none=True)
        with products(x.device, stage.precision):
            logits = model.coarse_logits(x, dropped)
        loss = segmentation_loss(
            logits, labels, upsample_logits=True, align_corners=True,
            label_grid=stage.label_grid, normalisation=stage.loss_normalisation,
        )  # fmt: skip
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run
