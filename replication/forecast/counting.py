"""What one forward or backward pass costs, counted layer by layer in closed form. No torch.

`tests/forecast/test_counting.py` holds the FLOPs to torch's own counter and what is kept for the
backward pass to autograd's own tensors. A FLOP is a multiplication or an addition of a convolution
or a matrix product, padding included, but for weights that fall on nothing else. All else is
counted as bytes, each operation reading its inputs from memory and writing its outputs there once.
Fused kernels and caches do better.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby

from replication.network.geometry import aspp_rates, geometry, reached
from replication.protocol import Network

FLOAT = 4
# Random numbers, the mask in their place, product and quotient of a dropout.
DROPOUT_MOVES = (8, 5)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operation on one image. Sizes are elements of one image; weights are the batch's."""

    name: str
    # Of a forward pass; the gradients of input and of weights cost as much again, each.
    flops: int = 0
    # Whether a gradient flows on to its input: not to the picture itself.
    first: bool = False
    parameters: int = 0
    # Running statistics, and the 8-byte counter of a batch norm.
    buffers: int = 0
    counters: int = 0
    # Read and written: forward, backward; a batch norm's in the mode without batch statistics.
    moved: tuple[float, float] = (0, 0)
    moved_frozen: tuple[float, float] | None = None
    # Bytes that the backward pass needs of each image, and of the batch.
    kept: int = 0
    kept_once: int = 0
    # Elements alive at once while it runs without a backward pass to come.
    alive: int = 0
    # A batch norm, which an evaluation has in the convolution before it (`network.folding`).
    folds: bool = False


@dataclass(frozen=True, kw_only=True)
class Pass:
    """All layers of a network on one image of one size."""

    layers: tuple[Layer, ...]
    # Elements of one image's coarse logits, or class scores.
    scores: int

    @property
    def forward_flops(self) -> int:
        return sum(layer.flops for layer in self.layers)

    @property
    def training_flops(self) -> int:
        """Forward and backward; the picture needs no gradient."""
        return sum(layer.flops * (2 if layer.first else 3) for layer in self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def state_bytes(self) -> int:
        """Parameters and buffers, as they are saved."""
        buffers = sum(FLOAT * layer.buffers + 8 * layer.counters for layer in self.layers)
        return FLOAT * self.parameters + buffers

    def moved(self, *, backward: bool, frozen: bool = False) -> tuple[float, float]:
        """Bytes of one image's activations read and written: by convolutions, and by all else.

        `frozen`: batch norms as in evaluation mode.
        """
        convolutions, others = 0.0, 0.0
        for layer in self.layers:
            one = layer.moved_frozen if frozen and layer.moved_frozen else layer.moved
            size = FLOAT * (sum(one) if backward else one[0])
            if layer.flops:
                convolutions += size
            else:
                others += size
        return convolutions, others

    def kept(self, images: int) -> int:
        """Bytes of activations that wait for the backward pass."""
        return sum(images * layer.kept + layer.kept_once for layer in self.layers)

    @property
    def alive(self) -> int:
        """The most bytes of one image's activations at once, without a backward pass."""
        return FLOAT * max(layer.alive for layer in self.layers)

    @property
    def launches(self) -> int:
        """Operations of a forward pass."""
        return len(self.layers)


def convolved(size: int, stride: int) -> int:
    """A side after a convolution or pooling that pads by half its (dilated) kernel."""
    return (size - 1) // stride + 1


def _convolution(
    name: str, inside: int, outside: int, kernel: int, before: int, after: int, *,
    first: bool = False, bias: bool = False, kept: bool = True, taps: int | None = None,
) -> Layer:  # fmt: skip
    """From `before` to `after` pixels; `kept`: a batch norm that follows needs its output.

    `taps` of the kernel's weights ever fall on the map; by default all do.
    """
    read, written = inside * before, outside * after
    weights = outside * inside * kernel**2 + (outside if bias else 0)
    return Layer(
        name=name,
        flops=2 * written * inside * (kernel**2 if taps is None else taps),
        first=first,
        parameters=weights,
        moved=(read + written, (1 if first else 2) * (read + written)),
        kept=FLOAT * written if kept else 0,
        alive=read + written,
    )


def _batch_norm(name: str, channels: int, pixels: int) -> Layer:
    """With batch statistics it reads its input twice, and twice again for the gradient."""
    size = channels * pixels
    return Layer(
        name=name,
        parameters=2 * channels,
        buffers=2 * channels,
        counters=1,
        moved=(3 * size, 5 * size),
        moved_frozen=(2 * size, 3 * size),
        kept_once=FLOAT * 2 * channels,
        alive=2 * size,
        folds=True,
    )


def _relu(name: str, channels: int, pixels: int) -> Layer:
    """In place; its result is what the next convolution keeps as its input."""
    size = channels * pixels
    return Layer(name=name, moved=(2 * size, 3 * size), kept=FLOAT * size, alive=size)


def _normalised(
    name: str, inside: int, outside: int, kernel: int, before: int, after: int, *,
    first: bool = False, relu: bool = True, taps: int | None = None,
) -> Iterator[Layer]:  # fmt: skip
    """Convolution, batch norm and, but for a unit's last, ReLU."""
    yield _convolution(name, inside, outside, kernel, before, after, first=first, taps=taps)
    yield _batch_norm(f"{name} bn", outside, after)
    if relu:
        yield _relu(f"{name} relu", outside, after)


def _backbone(
    network: Network, output_stride: int, height: int, width: int, multi_grid: Sequence[int]
) -> tuple[list[Layer], int, int, int]:
    """The layers of stem and blocks; then the channels, height and width that they leave."""
    stride = min(network.stem_stride, 2)
    kernel = {4: 7, 2: 5, 1: 3}[network.stem_stride]
    before = height * width
    h, w = convolved(height, stride), convolved(width, stride)
    channels = network.stem_width
    # The picture itself is kept for the first convolution's weights.
    layers = [Layer(name="picture", kept=FLOAT * 3 * before)]
    layers += _normalised("stem", 3, channels, kernel, before, h * w, first=True)
    if network.stem_stride == 4:
        size, h, w = channels * h * w, convolved(h, 2), convolved(w, 2)
        pooled = channels * h * w
        moved = size + 3 * pooled  # an 8-byte index says where each value came from
        layers.append(
            Layer(name="stem pool", moved=(moved, moved), kept=(FLOAT + 8) * pooled, alive=moved)
        )
    convolutions = geometry(
        units=network.units,
        last_block=network.last_block,
        multi_grid=multi_grid,
        output_stride=output_stride,
        stride_unit=network.stride_unit,
        first_unit_rate=network.first_unit_rate,
        multi_grid_rule=network.multi_grid_rule,
    )
    for conv in convolutions:
        before, taps = h * w, reached(h, conv.rate) * reached(w, conv.rate)
        h, w = convolved(h, conv.stride), convolved(w, conv.stride)
        inner = network.widths[min(conv.block, 4) - 1]
        layers += _unit(f"block{conv.block}.{conv.unit}", channels, inner, before, h * w, taps)
        channels = 4 * inner
    return layers, channels, h, w


def _unit(name: str, inside: int, inner: int, before: int, after: int, taps: int) -> list[Layer]:
    """A bottleneck unit; its input, and a projected shortcut, wait while it runs."""
    outside = 4 * inner
    size, waiting = outside * after, inside * before
    layers = [
        *_normalised(f"{name} conv1", inside, inner, 1, before, before),
        *_normalised(f"{name} conv2", inner, inner, 3, before, after, taps=taps),
        *_normalised(f"{name} conv3", inner, outside, 1, after, after, relu=False),
    ]
    if inside != outside:
        waiting += size
        layers += _normalised(f"{name} shortcut", inside, outside, 1, before, after, relu=False)
    layers.append(Layer(name=f"{name} sum", moved=(3 * size, 3 * size), alive=2 * size))
    layers.append(_relu(f"{name} relu", outside, after))
    return [replace(layer, alive=waiting + layer.alive) for layer in layers]


def _head(network: Network, channels: int, h: int, w: int, output_stride: int) -> list[Layer]:
    """ASPP with its projection and dropout."""
    pixels = h * w
    width, features = network.head_width, channels * pixels
    rates = aspp_rates(network.atrous_rates, output_stride, network.atrous_rates_at_32)
    joined = (1 + len(rates)) * width * pixels
    layers: list[Layer] = []
    layers += _normalised("aspp.0", channels, width, 1, pixels, pixels)
    for number, rate in enumerate(rates, start=1):
        taps = reached(h, rate) * reached(w, rate)
        layers += _normalised(f"aspp.{number}", channels, width, 3, pixels, pixels, taps=taps)
    if network.image_pooling:
        layers.append(Layer(name="aspp mean", moved=(features, features), kept=FLOAT * channels))
        layers += _normalised("aspp pooling", channels, width, 1, 1, 1)
    layers.append(
        Layer(name="aspp join", moved=(2 * joined, 2 * joined), kept=FLOAT * joined, alive=joined)
    )
    layers = [replace(layer, alive=features + joined + layer.alive) for layer in layers]
    if network.image_pooling:
        # The projection's share of the pooled features, which is added to every position.
        layers.append(_convolution("aspp pooled", width, width, 1, 1, 1, kept=False))
        size = width * pixels
        layers.append(Layer(name="aspp add", moved=(2 * size, size), alive=size))
    layers += _normalised("aspp project", (1 + len(rates)) * width, width, 1, pixels, pixels)
    if network.dropout:
        size = width * pixels
        forward, backward = DROPOUT_MOVES
        moved = (forward * size, backward * size)
        layers.append(Layer(name="dropout", moved=moved, kept=2 * FLOAT * size))
    return layers


@cache
def segmentation(
    network: Network, classes: int, output_stride: int, height: int, width: int
) -> Pass:
    """DeepLabv3 from a picture of height by width pixels to its coarse logits."""
    layers, channels, h, w = _backbone(network, output_stride, height, width, network.multi_grid)
    if network.head == "aspp":
        layers += _head(network, channels, h, w, output_stride)
        channels = network.head_width
    layers.append(
        _convolution("classifier", channels, classes, 1, h * w, h * w, bias=True, kept=False)
    )
    return Pass(layers=tuple(layers), scores=classes * h * w)


@cache
def evaluated(network: Network, classes: int, output_stride: int, height: int, width: int) -> Pass:
    """The same as an evaluation has it: without batch norms."""
    counted = segmentation(network, classes, output_stride, height, width)
    return replace(counted, layers=tuple(layer for layer in counted.layers if not layer.folds))


@cache
def classification(
    network: Network, classes: int, output_stride: int, size: int, multi_grid: tuple[int, ...]
) -> Pass:
    """The backbone with global pooling and a linear layer: what pretraining trains."""
    layers, channels, h, w = _backbone(network, output_stride, size, size, multi_grid)
    features = channels * h * w
    layers.append(Layer(name="mean", moved=(features, features), kept=FLOAT * channels))
    layers.append(_convolution("fc", channels, classes, 1, 1, 1, bias=True, kept=False))
    return Pass(layers=tuple(layers), scores=classes)


def by_block(counted: Pass) -> dict[str, tuple[int, int]]:
    """Forward FLOPs of one image and parameters, by block."""
    found: dict[str, tuple[int, int]] = {}
    for name, layers in groupby(
        counted.layers, key=lambda layer: layer.name.split()[0].split(".")[0]
    ):
        inside = list(layers)
        found[name] = (
            sum(layer.flops for layer in inside), sum(layer.parameters for layer in inside)
        )  # fmt: skip
    return found
