"""The whole network: ResNet, cascade or ASPP head, logits at the input's size."""

import torch
from torch import Tensor, nn

from replication.network.aspp import ASPP, dropout, mean, upsample
from replication.network.geometry import aspp_rates
from replication.network.pointwise import Pointwise
from replication.network.resnet import ResNet, initialise
from replication.protocol import Network


class DeepLabV3(nn.Module):
    """DeepLabv3 for `num_classes` classes at any output stride.

    `forward` maps a mean-subtracted batch (N, 3, H, W) to logits (N, num_classes, H, W);
    `coarse_logits` stops before the upsampling. The cascade head is a single 1x1 convolution on
    the last block's features (section 3.2); the ASPP head is section 3.3's.
    """

    def __init__(self, network: Network, num_classes: int, output_stride: int) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes
        self.backbone = ResNet(network, output_stride)
        self.aspp: ASPP | None = None
        features = self.backbone.out_channels
        if network.head == "aspp":
            self.aspp = ASPP(
                features,
                aspp_rates(network.atrous_rates, output_stride, network.atrous_rates_at_32),
                width=network.head_width,
                image_pooling=network.image_pooling,
                bn_epsilon=network.bn_epsilon,
            )
            features = network.head_width
        self.classifier = Pointwise(features, num_classes, bias=True)

    @property
    def output_stride(self) -> int:
        return self.backbone.output_stride

    @property
    def align_corners(self) -> bool:
        return self.network.align_corners

    @property
    def size_step(self) -> int:
        """Sides of k * size_step + 1 pixels keep the feature grid aligned at output stride 8."""
        return self.network.stem_stride * 8

    def set_output_stride(self, output_stride: int) -> None:
        """Use the same weights at another output stride; ASPP's rates scale along."""
        self.backbone.set_output_stride(output_stride)
        if self.aspp is not None:
            network = self.network
            rates = aspp_rates(network.atrous_rates, output_stride, network.atrous_rates_at_32)
            self.aspp.set_rates(rates)

    def coarse_logits(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Logits (N, num_classes, h, w) at the features' resolution.

        `generator` draws the dropout masks; without one (evaluation) nothing is dropped.
        """
        features = self.backbone(x)
        if self.aspp is not None:
            features = dropout(self.aspp(features), self.network.dropout, generator)
        return _single(self.classifier, features)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits = self.coarse_logits(x, generator)
        size = (x.shape[2], x.shape[3])
        return upsample(logits, size, align_corners=self.network.align_corners)


class Classifier(nn.Module):
    """The backbone with global pooling and a linear layer: what pretraining trains."""

    def __init__(self, network: Network, num_classes: int, output_stride: int) -> None:
        super().__init__()
        self.backbone = ResNet(network, output_stride)
        self.fc = nn.Linear(self.backbone.out_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return _single(self.fc, mean(self.backbone(x)).flatten(1))


def _single(last: nn.Conv2d | nn.Linear, features: Tensor) -> Tensor:
    """The layer whose output the loss reads, in single precision under bf16's autocast too."""
    if features.dtype == last.weight.dtype:
        return last(features)
    with torch.autocast(features.device.type, enabled=False):
        return last(features.float())


def build(
    network: Network, num_classes: int, output_stride: int, generator: torch.Generator
) -> DeepLabV3:
    """A freshly initialised network; the logits' layer starts near zero."""
    model = DeepLabV3(network, num_classes, output_stride)
    initialise(model, generator)
    with torch.no_grad():
        for layer in model.aspp.modules() if model.aspp is not None else ():
            if isinstance(layer, nn.Conv2d):
                layer.weight.mul_(network.aspp_gain)
        model.classifier.weight.normal_(0.0, 0.01, generator=generator)
    return model


def build_classifier(
    network: Network,
    num_classes: int,
    output_stride: int,
    generator: torch.Generator,
    *,
    residual_gamma: float = 1.0,
) -> Classifier:
    """A freshly initialised classifier; `residual_gamma` is every unit's last BN gain."""
    model = Classifier(network, num_classes, output_stride)
    initialise(model, generator)
    with torch.no_grad():
        model.fc.weight.normal_(0.0, 0.01, generator=generator)
        model.fc.bias.zero_()
        for name, parameter in model.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.fill_(residual_gamma)
    return model
