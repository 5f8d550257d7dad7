"""The vocabulary of an experiment: network, training stage, evaluation.

Every number that changes a result is a field here, named as the paper names it. Fields marked
"ledger" are decisions that the paper leaves open; `ledger.toml` gives each its reason. Nothing
here imports torch.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


def _power_of_two(value: int) -> int:
    if not (4 <= value <= 256 and value & (value - 1) == 0):
        raise ValueError("must be a power of two from 4 to 256")
    return value


OutputStride = Annotated[int, AfterValidator(_power_of_two)]
UnitRates = tuple[Positive, Positive, Positive]
MultiGridRule = Literal["multiply", "replace"]
RatesAt32 = Literal["halved", "kept"]
LabelGrid = Literal["corners", "floor"]
Padding = Literal["bottom-right", "centre"]
# "fp32": every product in single precision; "tf32": convolutions on a GPU round their factors to
# TF32; "bf16": forward and backward pass take bfloat16 products, while weights, BN statistics,
# logits, loss and update stay single.
Precision = Literal["fp32", "tf32", "bf16"]


class Frozen(BaseModel):
    """Immutable, and strict about keys it does not know.

    A step's id is a hash of its configuration, and records are found by it. A field that is made
    of what was built in has that as its default, and a configuration leaves it out while it stands
    there: ids stay as long as results do. Such a default is therefore never changed; what a table
    starts from is protocol.toml's to say. All other fields have none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def config(self) -> dict[str, Any]:
        """As the configuration of a step holds it."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def whole(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """A step's configuration with what `config` left out; nothing is checked."""
        fields = cls.model_fields.items()
        return {n: one.default for n, one in fields if not one.is_required()} | dict(config)


class Network(Frozen):
    """One DeepLabv3 network, all but its number of classes (the data's)."""

    backbone: Literal["resnet50", "resnet101"]
    last_block: Annotated[int, Field(ge=4, le=7)]
    multi_grid: UnitRates
    # "replace": a unit rate stands in place of its block's rate, also where it is 1.
    multi_grid_rule: MultiGridRule = "multiply"  # ledger
    head: Literal["cascade", "aspp"]
    # Rates of the 3x3 branches at output stride 16; doubled at 8 (section 3.3).
    atrous_rates: tuple[Positive, ...]
    # Above 16. "halved": at 32, and so on in proportion; "kept": as they are at 16.
    atrous_rates_at_32: RatesAt32 = "halved"  # ledger
    image_pooling: bool

    stride_unit: Literal["first", "last"]  # ledger
    first_unit_rate: Literal["block", "previous"]  # ledger
    align_corners: bool  # ledger
    dropout: Fraction  # ledger
    bn_epsilon: Annotated[float, Field(gt=0)]  # ledger
    # Factor on the last BN gamma of each copied unit in block5-7: 1 is a plain copy.
    extra_block_gamma: Annotated[float, Field(ge=0, le=1)]  # ledger
    # Factor on the weights that ASPP's convolutions start with. Batch normalisation takes it from
    # their outputs, and a step then turns a filter less by its square.
    aspp_gain: Annotated[float, Field(gt=0)] = 1.0  # ledger

    # What a tier scales. At full size: ResNet's own units and widths, and a stem of stride 4.
    units: tuple[Positive, Positive, Positive, Literal[3]]
    widths: tuple[Positive, Positive, Positive, Positive]
    stem_width: Positive
    stem_stride: Literal[1, 2, 4]
    head_width: Positive


class Stage(Frozen):
    """One training on one split, starting from the weights of the stage before it."""

    data: Literal["voc", "coco", "cityscapes"]
    split: str
    output_stride: OutputStride
    crop_size: Annotated[int, Field(ge=9)]
    batch_size: Positive
    iterations: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    power: Annotated[float, Field(ge=0)]
    momentum: Fraction  # ledger
    weight_decay: Annotated[float, Field(ge=0)]  # ledger
    head_learning_rate_factor: Annotated[float, Field(gt=0)]  # ledger
    batch_norm: Literal["trained", "frozen"]
    frozen_bn: Literal["statistics", "all"]  # ledger: what "frozen" freezes
    bn_decay: Fraction
    upsample_logits: bool
    # Where logits are not upsampled, the label that one is compared with: "corners", the nearest
    # on a grid that reaches from the first pixel to the last; "floor", pixel floor(i * in / out).
    label_grid: LabelGrid = "corners"  # ledger
    loss_normalisation: Literal["valid", "all"]  # ledger
    scale_range: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    scale_step: Annotated[float, Field(ge=0)]  # ledger: 0 draws scales continuously
    flip: bool
    # Where a picture smaller than the crop lies in it: "bottom-right" is what is padded; "centre"
    # pads all around, an odd pixel at the bottom or right.
    padding: Padding = "bottom-right"  # ledger
    # Classes whose images stand twice in the list: the paper's bootstrapping on hard images.
    duplicate: tuple[str, ...]
    # Asynchronous replicas: each gradient is taken on weights replicas - 1 updates old.
    replicas: Positive
    # Equal parts of the batch whose gradients are added up before an update; the loss is that of
    # the whole batch, and BN takes its statistics from one part at a time.
    accumulate: Positive = 1  # ledger
    precision: Precision = "fp32"  # ledger
    # Only kernels that give the same bits again, on a GPU too; a CPU has no others.
    deterministic: bool = False


class Pretraining(Frozen):
    """Where the backbone's weights come from: a classification training on the role `imagenet`."""

    crop_size: Annotated[int, Field(ge=9)]
    output_stride: OutputStride
    batch_size: Positive
    iterations: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    power: Annotated[float, Field(ge=0)]
    momentum: Fraction
    weight_decay: Annotated[float, Field(ge=0)]
    bn_decay: Fraction
    # Each iteration draws one of these for block4; ((1, 1, 1),) is plain pretraining.
    multi_grids: tuple[UnitRates, ...]
    # Where the last BN gain of every unit starts; below 1, units start nearer to the identity.
    residual_gamma: Annotated[float, Field(ge=0, le=1)] = 1.0
    precision: Precision = "fp32"  # ledger
    deterministic: bool = False


class Evaluation(Frozen):
    """One inference strategy on one split."""

    data: Literal["voc", "coco", "cityscapes"]
    split: str
    output_stride: OutputStride
    crop_size: Annotated[int, Field(ge=9)]
    # "padded": every image at the bottom and right to at least the crop; "resized": every image to
    # the crop, its aspect not kept, and its predictions back. Pixels count at the image's own size.
    whole_image: Literal["padded", "resized"] = "padded"  # ledger
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)]
    flip: bool
    precision: Precision = "fp32"  # ledger
    deterministic: bool = False
