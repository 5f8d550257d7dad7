"""The protocol that every table starts from, and how a cell's changes are laid over it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replication.protocol import Evaluation, Network, Stage
from replication.spec.checks import (
    INVALID,
    Place,
    checked,
    display,
    field_types,
    fields,
    nearest,
    read_toml,
    section,
    show,
)

# Follow from the backbone's name; a tier may scale them, a table does not set them.
SIZE_FIELDS = ("units", "widths", "stem_width", "stem_stride", "head_width")
SIZE_TYPES = {name: field_types(Network)[name] for name in SIZE_FIELDS}
NETWORK_TYPES = {n: kind for n, kind in field_types(Network).items() if n not in SIZE_FIELDS}
STAGE_TYPES = field_types(Stage)
TRAINING_TYPES = {**NETWORK_TYPES, **STAGE_TYPES}
EVALUATION_TYPES = field_types(Evaluation)
BACKBONES = ("resnet50", "resnet101")

# The stage that `[training]` itself describes.
MAIN_STAGE = "train"


@dataclass(frozen=True, kw_only=True)
class NamedStage:
    """One link of a cell's chain of trainings."""

    name: str
    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The content of protocol.toml: every field's value before a table changes it."""

    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    backbones: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a table, or one cell of it, changes."""

    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chain: tuple[str, ...] | None = None

    def places(self, place: Place, training: str) -> dict[str, str]:
        """Where each changed field stands; the training's are under the key `training`, if any."""
        inside = place.at(training) if training else place
        found = {name: str(inside.at(name)) for name in self.training}
        for name in self.evaluation:
            found[f"evaluation.{name}"] = str(place.at(f"evaluation.{name}"))
        for stage, changed in self.stages.items():
            for name in changed:
                found[f"stages.{stage}.{name}"] = str(place.at(f"stages.{stage}.{name}"))
        return found


def load_protocol(path: Path, problems: list[str]) -> Protocol | None:
    """Read protocol.toml; None if it cannot be used, and `problems` then says why."""
    place = Place(display(path), problems=problems)
    before = len(problems)
    content = read_toml(path, place)
    if content is None:
        return None
    parts = ("training", "evaluation", "backbones")
    fields(place, content, {}, required=parts, apart=parts)
    if len(problems) > before:
        return None
    training = fields(
        place.at("training"), content["training"], TRAINING_TYPES, required=TRAINING_TYPES
    )
    evaluation = fields(
        place.at("evaluation"),
        content["evaluation"],
        EVALUATION_TYPES,
        required=[name for name in EVALUATION_TYPES if name != "output_stride"],
    )
    backbones = read_backbones(place.at("backbones"), content["backbones"], whole=True)
    if len(problems) > before:
        return None
    return Protocol(training=training, evaluation=evaluation, backbones=backbones)


def read_backbones(place: Place, value: Any, *, whole: bool) -> dict[str, dict[str, Any]]:
    """`[backbones.NAME]` sections; `whole` asks for every backbone and every size."""
    content = section(place, value)
    found = {}
    for name, sizes in content.items():
        if name not in BACKBONES:
            place.at(name).problem(f"unknown backbone; {nearest(name, BACKBONES)}")
            continue
        required = SIZE_FIELDS if whole else ()
        found[name] = fields(place.at(name), sizes, SIZE_TYPES, required=required)
    for name in BACKBONES if whole else ():
        if name not in content:
            place.at(name).problem("missing; this section is required")
    return found


def read_stages(place: Place, value: Any) -> dict[str, dict[str, Any]]:
    """`[stages.NAME]` sections: the fields that one stage changes."""
    content = section(place, value)
    return {name: fields(place.at(name), one, STAGE_TYPES) for name, one in content.items()}


def read_chain(place: Place, value: Any, stages: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of a cell's stages in order."""
    chain = checked(place, value, tuple[str, ...])
    if chain is INVALID:
        return None
    known = (MAIN_STAGE, *(name for name in stages if name != MAIN_STAGE))
    for name in chain:
        if name not in known:
            place.problem(f'no stage "{name}"; {nearest(name, known)}')
            return None
    if not chain or len(set(chain)) < len(chain):
        place.problem(f"{show(chain)} must name at least one stage, and each once")
        return None
    return tuple(chain)


def resolve(
    protocol: Protocol, table: Changes, cell: Changes, place: Place
) -> tuple[Network, tuple[NamedStage, ...], Evaluation] | None:
    """The whole protocol of a cell: protocol.toml, then the table's changes, then the cell's.

    A stage's own section goes over the flat training fields, the cell's last. The evaluation's
    output stride is, where nothing sets it, the last stage's. Fields without effect are set to one
    value, so that equal trainings are equal objects. None, and a problem, where the parts
    contradict each other.
    """
    training = {**protocol.training, **table.training, **cell.training}
    network = {name: training[name] for name in NETWORK_TYPES}
    network |= protocol.backbones[training["backbone"]]
    if training["head"] == "aspp" and not training["atrous_rates"]:
        place.problem('head = "aspp" must have at least one of atrous_rates')
        return None
    changed = {**table.training, **cell.training}
    for name in ("atrous_rates", "image_pooling"):
        if training["head"] == "cascade" and name in changed and changed[name]:
            shown = f"{name} = {show(changed[name])}"
            place.problem(f'{shown} has no effect with head = "cascade"; use "aspp"')
            return None

    stages = []
    for name in cell.chain or table.chain or (MAIN_STAGE,):
        chosen = {key: training[key] for key in STAGE_TYPES}
        chosen |= {**table.stages.get(name, {}), **cell.stages.get(name, {})}
        low, high = chosen["scale_range"]
        if low > high:
            shown = f"scale_range = {show((low, high))}"
            place.problem(f"{shown} must not be larger at its start than at its end")
            return None
        wrong = wrong_parts(chosen, training)
        if wrong:
            place.problem(wrong)
            return None
        stages.append(NamedStage(name=name, stage=effective_stage(Stage(**chosen))))

    last = stages[-1].stage
    measured = {"output_stride": last.output_stride, **protocol.evaluation}
    evaluation = Evaluation(**{**measured, **table.evaluation, **cell.evaluation})
    if not _same_classes(last.data, evaluation.data):
        shown = f'evaluation.data = "{evaluation.data}"'
        place.problem(f'{shown} has other classes than the last stage\'s data "{last.data}"')
        return None
    for one in stages:
        if one.stage.data == evaluation.data and evaluation.split in _parts(one.stage.split):
            shown = f'evaluation.split = "{evaluation.split}"'
            place.problem(f'{shown} is trained on: stage {one.name} has "{one.stage.split}"')
            return None
    strides = output_strides(stages, evaluation)
    return effective_network(Network(**network), strides), tuple(stages), evaluation


def wrong_parts(stage: Mapping[str, Any], network: Mapping[str, Any]) -> str | None:
    """Why the stage's batch cannot be taken in its parts, or None."""
    batch, parts = stage["batch_size"], stage["accumulate"]
    shown = f"accumulate = {parts}"
    if batch % parts:
        return f"{shown} must divide batch_size = {batch}: all parts are of one size"
    pooled = network["head"] == "aspp" and network["image_pooling"]
    if parts == batch > 1 and pooled and stage["batch_norm"] == "trained":
        # Pooled to one pixel, one picture has no variance.
        return (
            f"{shown} leaves parts of one picture, from which image pooling's batch normalisation "
            f"has no statistics; batch_size = {batch} allows {_divisors(batch)}"
        )
    return None


def _divisors(batch: int) -> str:
    """Those of which a part has at least two pictures."""
    return ", ".join(str(n) for n in range(1, batch) if batch % n == 0)


def output_strides(stages: Iterable[NamedStage], evaluation: Evaluation) -> set[int]:
    """Every output stride that a cell's network is used at."""
    return {one.stage.output_stride for one in stages} | {evaluation.output_stride}


def _same_classes(one: str, other: str) -> bool:
    """COCO is read with VOC's classes."""
    return one == other or {one, other} == {"voc", "coco"}


def _parts(split: str) -> set[str]:
    """The splits in a sum such as "trainval+train_extra"."""
    parts = set(split.split("+"))
    return parts | {"train", "val"} if "trainval" in parts else parts


def effective_network(network: Network, strides: Collection[int]) -> Network:
    """The network with each field that has no effect at these output strides set to its plainest.

    `multi_grid_rule` has one with the unit rates (1, 1, 1) too: "replace" then drops the blocks'
    rates. It has none where no block has a rate, as at output stride 32 up to block4.
    """
    plain: dict[str, Any] = {}
    if network.head == "cascade":
        plain |= {"atrous_rates": (), "image_pooling": False, "dropout": 0.0, "aspp_gain": 1.0}
    if network.head == "cascade" or max(strides) <= 16:
        plain |= {"atrous_rates_at_32": "halved"}
    # What the strides of all blocks but the last come to: 32 for block4, 256 for block7.
    if min(strides) >= 2 ** (network.last_block + 1):
        plain |= {"multi_grid_rule": "multiply"}
    if network.last_block == 4:
        plain |= {"extra_block_gamma": 1.0}
    if network.stride_unit == "last":
        plain |= {"first_unit_rate": "block"}
    return network.model_copy(update=plain)


def effective_stage(stage: Stage) -> Stage:
    """The stage with each field that has no effect set to its plainest value."""
    plain: dict[str, Any] = {"duplicate": tuple(sorted(set(stage.duplicate)))}
    if stage.batch_norm == "trained":
        plain |= {"frozen_bn": "statistics"}
    if stage.upsample_logits:
        plain |= {"label_grid": "corners"}
    if stage.scale_range[0] == stage.scale_range[1]:
        plain |= {"scale_step": 0.0}
    return stage.model_copy(update=plain)
