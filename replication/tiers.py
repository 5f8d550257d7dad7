"""Tiers: how far a protocol is scaled, on which data, and what its numbers may be compared with.

A tier scales every cell the same way. It may set a field only where no table varies it: scaling
keeps a table's contrasts, setting would erase them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from replication.data.sources import EMBEDDED, ROLES
from replication.errors import SpecError
from replication.protocol import Evaluation, Network, Pretraining, Stage
from replication.spec import Cell
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
)
from replication.spec.protocol import (
    EVALUATION_TYPES,
    STAGE_TYPES,
    TRAINING_TYPES,
    NamedStage,
    effective_network,
    effective_stage,
    output_strides,
    read_backbones,
    read_stages,
    wrong_parts,
)

SEGMENTATION_ROLES = ("voc", "coco", "cityscapes")

Factor = Annotated[float, Field(gt=0)]
# What may differ from role to role; the others are one number.
ROLE_SCALES = ("iterations", "crop_size", "batch_size", "learning_rate")
SCALES = (*ROLE_SCALES, "atrous_rates")

# Backbones that a tier does not train: published ones by file, or none at all.
Weights = Literal["torchvision", "random"]

TIER_TYPES: dict[str, Any] = {
    "extends": str,
    "summary": Annotated[str, Field(min_length=1)],
    "comparable": bool,
    "threads": Annotated[int, Field(ge=1)],
    "first_seed": Annotated[int, Field(ge=0)],
    "seeds": Annotated[int, Field(ge=1)],
    "single_seed_margin": Annotated[float, Field(ge=0)],
}
TIER_PARTS = (
    "data", "pretraining", "scale", "training", "evaluation", "evaluation_splits", "stages",
    "backbones",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tier:
    """One tier's file, with that of the tier it extends."""

    name: str
    summary: str
    # Whether its numbers may be held against the published ones.
    comparable: bool
    threads: int
    first_seed: int
    # How many seeds a run takes where the user does not say.
    seeds: int
    # A source for each role; "" where the user must name one.
    data: Mapping[str, str]
    # A pretraining of the tier's own, or what its trainings start from instead.
    pretraining: Pretraining | None
    weights: Weights | None
    # Points of mIoU by which one seed settles an ordering.
    single_seed_margin: float
    scales: Mapping[str, Mapping[str, float]]
    atrous_rates: float
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    # The split that stands in for a role's evaluation split.
    evaluation_splits: Mapping[str, Mapping[str, str]]
    stages: Mapping[str, Mapping[str, Any]]
    backbones: Mapping[str, Mapping[str, Any]]
    place: str
    # Where each field that the tier sets stands.
    sets: Mapping[str, str] = field(default_factory=dict)

    def generated(self, role: str) -> bool:
        """Whether the role's pictures are drawn here, test labels and all."""
        return self.data.get(role, "").startswith(EMBEDDED)


def load_tier(name_or_path: str, folder: Path) -> Tier:
    """The tier NAME of `folder`, or the one in a file given by its path.

    Raises SpecError with every problem, one a line.
    """
    problems: list[str] = []
    path = _find(name_or_path, folder, None, problems)
    tier = _tier(path, folder, problems) if path else None
    if tier is None:
        raise SpecError("\n".join(problems))
    return tier


def _find(name: str, folder: Path, asking: Place | None, problems: list[str]) -> Path | None:
    """The file of a tier; `asking` is the key that extends it."""
    if name.endswith(".toml") or "/" in name:
        path = Path(name)
        known = [display(one) for one in sorted(path.parent.glob("*.toml"))]
    else:
        path = folder / f"{name}.toml"
        known = [one.stem for one in sorted(folder.glob("*.toml"))]
    if path.is_file():
        return path
    place = asking or Place(display(path.parent), problems=problems)
    told = nearest(name, known) if known else "there is no .toml file"
    place.problem(f'no tier "{name}"; {told}')
    return None


def _tier(path: Path, folder: Path, problems: list[str]) -> Tier | None:
    content = _read(path, folder, problems, ())
    if problems or content is None:
        return None
    place = Place(display(path), problems=problems)
    for key in TIER_TYPES:
        if key != "extends" and key not in content:
            place.at(key).problem("missing; this key is required")
    pretraining, weights = _pretraining(place.at("pretraining"), content.get("pretraining"))
    scale = content.get("scale", {})
    if problems:
        return None
    return Tier(
        name=path.stem,
        **{key: content[key] for key in TIER_TYPES if key != "extends"},
        data={role: content.get("data", {}).get(role, "") for role in ROLES},
        pretraining=pretraining,
        weights=weights,
        scales={key: scale[key] for key in ROLE_SCALES if key in scale},
        atrous_rates=scale.get("atrous_rates", 1.0),
        **{
            key: content.get(key, {})
            for key in ("training", "evaluation", "evaluation_splits", "stages", "backbones")
        },
        place=str(place),
        sets=content["sets"],
    )


def _read(
    path: Path, folder: Path, problems: list[str], below: tuple[Path, ...]
) -> dict[str, Any] | None:
    """A tier's checked content, laid over that of the tier it extends."""
    place = Place(display(path), problems=problems)
    raw = read_toml(path, place)
    if raw is None:
        return None
    content = fields(place, raw, TIER_TYPES, apart=TIER_PARTS)
    given = {key: raw[key] for key in TIER_PARTS if key in raw}
    sources = dict.fromkeys(ROLES, str)
    splits = dict.fromkeys(SEGMENTATION_ROLES, dict[str, str])
    kinds = {
        "data": sources,
        "pretraining": {**field_types(Pretraining), "weights": Weights},
        "training": TRAINING_TYPES,
        "evaluation": EVALUATION_TYPES,
        "evaluation_splits": splits,
    }
    for key, known in kinds.items():
        if key in given:
            content[key] = fields(place.at(key), given[key], known)
    if "scale" in given:
        content["scale"] = _scale(place.at("scale"), given["scale"])
    if "stages" in given:
        content["stages"] = read_stages(place.at("stages"), given["stages"])
    if "backbones" in given:
        content["backbones"] = read_backbones(
            place.at("backbones"), given["backbones"], whole=False
        )
    content["sets"] = _places(place, content)
    if "extends" not in content:
        return content
    parent = _find(content["extends"], folder, place.at("extends"), problems)
    if parent is None:
        return None
    if parent in (path, *below):
        chain = " extends ".join(one.stem for one in (*below, path, parent))
        place.at("extends").problem(f"{chain}; a tier cannot extend itself")
        return None
    inherited = _read(parent, folder, problems, (*below, path))
    return None if inherited is None else _merge(inherited, content)


def _places(place: Place, content: Mapping[str, Any]) -> dict[str, str]:
    found = {name: str(place.at("training").at(name)) for name in content.get("training", {})}
    for name in content.get("evaluation", {}):
        found[f"evaluation.{name}"] = str(place.at("evaluation").at(name))
    for stage, changed in content.get("stages", {}).items():
        for name in changed:
            found[f"stages.{stage}.{name}"] = str(place.at(f"stages.{stage}.{name}"))
    for name in content.get("pretraining", {}):
        found[f"pretraining.{name}"] = str(place.at("pretraining").at(name))
    return found


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inside = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if inside else value
    return merged


def _scale(place: Place, value: Any) -> dict[str, Any]:
    """Factors by field; one number for all roles, or one for each."""
    content = section(place, value)
    found: dict[str, Any] = {}
    for key, factor in content.items():
        at = place.at(key)
        if key not in SCALES:
            at.problem(f"unknown key; {nearest(key, SCALES)}")
        elif key in ROLE_SCALES and isinstance(factor, dict):
            kinds = dict.fromkeys(SEGMENTATION_ROLES, Factor)
            found[key] = fields(at, factor, kinds, required=kinds)
        else:
            valid = checked(at, factor, Factor)
            if valid is not INVALID:
                by_role = key in ROLE_SCALES
                found[key] = dict.fromkeys(SEGMENTATION_ROLES, valid) if by_role else valid
    return found


def _pretraining(
    place: Place, value: dict[str, Any] | None
) -> tuple[Pretraining | None, Weights | None]:
    if value is None:
        place.problem(
            'missing; give weights = "torchvision" or "random", or a training on imagenet'
        )
        return None, None
    value = dict(value)
    weights = value.pop("weights", None)
    if weights is not None:
        for key in value:
            place.at(key).problem("cannot stand beside weights, which take a pretraining's place")
        return None, weights
    required = [name for name, one in Pretraining.model_fields.items() if one.is_required()]
    missing = [key for key in required if key not in value]
    for key in missing:
        place.at(key).problem("missing; this key is required")
    return (None if missing else Pretraining(**value)), None


def scale(cell: Cell, tier: Tier) -> Cell:
    """The same cell with its protocol at the tier's scale.

    Raises SpecError where the tier sets a field that the cell or its table sets, naming both, or
    leaves a batch that cannot be taken in its parts.
    """
    if cell.network is None or cell.evaluation is None:
        return cell
    conflicts = [
        f"{place}: {key} is set by {where}; a tier may scale what a table sets, not set it"
        for key, place in tier.sets.items()
        for where in _claimed(key, cell)
    ]
    if conflicts:
        raise SpecError("\n".join(conflicts))
    stages = tuple(
        NamedStage(name=one.name, stage=_stage(one.stage, one.name, tier)) for one in cell.stages
    )
    evaluation = _evaluation(cell.evaluation, tier)
    network = _network(cell.network, tier, output_strides(stages, evaluation))
    for one in stages:
        wrong = wrong_parts(one.stage.model_dump(), network.model_dump())
        if wrong:
            raise SpecError(f"{tier.place}: stage {one.name} of {cell.name} at this tier: {wrong}")
    return replace(
        cell,
        network=network,
        stages=stages,
        evaluation=evaluation,
    )


def _claimed(key: str, cell: Cell) -> list[str]:
    """Where the cell sets what the tier sets under `key`, in any of its stages."""
    last = key.rsplit(".", 1)[-1]
    if key.startswith("evaluation."):
        names = {key}
    elif key.startswith("stages."):
        names = {key, last}
    else:
        names = {key, *(f"stages.{one.name}.{key}" for one in cell.stages)}
    return [where for name, where in cell.sets.items() if name in names]


def _network(network: Network, tier: Tier, strides: Collection[int]) -> Network:
    changed = {name: one for name, one in tier.training.items() if name not in STAGE_TYPES}
    changed |= tier.backbones.get(network.backbone, {})
    rates = tuple(max(1, round(rate * tier.atrous_rates)) for rate in network.atrous_rates)
    changed["atrous_rates"] = changed.get("atrous_rates", rates)
    return effective_network(network.model_copy(update=changed), strides)


def _stage(stage: Stage, name: str, tier: Tier) -> Stage:
    def factor(key: str) -> float:
        return tier.scales.get(key, {}).get(stage.data, 1.0)

    changed: dict[str, Any] = {
        "iterations": max(1, round(stage.iterations * factor("iterations"))),
        "batch_size": max(2, round(stage.batch_size * factor("batch_size"))),
        "crop_size": _crop(stage.crop_size, factor("crop_size")),
        # Four digits: 0.007 * 14.286 is meant to be 0.1.
        "learning_rate": float(f"{stage.learning_rate * factor('learning_rate'):.4g}"),
    }
    changed |= {key: one for key, one in tier.training.items() if key in STAGE_TYPES}
    changed |= tier.stages.get(name, {})
    return effective_stage(stage.model_copy(update=changed))


def _evaluation(evaluation: Evaluation, tier: Tier) -> Evaluation:
    factor = tier.scales.get("crop_size", {}).get(evaluation.data, 1.0)
    splits = tier.evaluation_splits.get(evaluation.data, {})
    changed: dict[str, Any] = {
        "crop_size": _crop(evaluation.crop_size, factor),
        "split": splits.get(evaluation.split, evaluation.split),
    }
    return evaluation.model_copy(update={**changed, **tier.evaluation})


def _crop(size: int, factor: float) -> int:
    """Crops are k * stride + 1 pixels: 513 at an eighth is 65."""
    return max(9, round((size - 1) * factor) + 1)
