"""Every number of the generated data sets, and the fingerprint that names a set made from them."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from replication.errors import DataError

# Raised whenever the same recipe would give other pixels: old sets are then left alone, unused.
VERSION = 1

Role = Literal["voc", "coco", "cityscapes", "imagenet"]
ROLES: tuple[Role, ...] = get_args(Role)
Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """How one object looks: shared by scenes and crops, so that pretraining carries over."""

    # How often an object has its outline's own hue and texture; otherwise they are any.
    colour_cue: float = 0.87
    texture_cue: float = 0.75
    # Fewer hues than outlines: a hue alone leaves two outlines possible.
    hues: int = 6
    texture_contrast: float = 0.22
    # Boundary displacement, in radii, and greatest rotation, in degrees, of upright outlines.
    wiggle: float = 0.05
    tilt: float = 14.0
    # No stroke is drawn thinner than this, in pixels: thinner ones drop out of the mask.
    min_stroke: float = 1.3
    # Standard deviation of the pixel noise, of 1.
    noise: float = 0.035


@dataclass(frozen=True, kw_only=True)
class SceneRecipe:
    """What stands in one image of the roles `voc` and `coco`."""

    objects: tuple[int, int] = (1, 4)
    # Log-uniform; in 65ths of the image's size, so that a larger frame shows the same scene.
    radius: tuple[float, float] = (5.0, 26.0)
    # Objects of one image come no nearer than this share of their summed radii, if there is room.
    spacing: float = 0.6
    clutter: tuple[int, int] = (2, 6)
    # How often an outline that is no class of the set stands in the background.
    decoy: float = 0.2
    # Outlines shared by two classes that only the scene tells apart: 0 to 3 (6 of 12 classes).
    pairs: int = 3
    # The scene's cue: its hue's saturation, the share of background patches in some other hue,
    # and how many patches stand along a side. Patches make a small window's judgement noisy.
    saturation: float = 0.6
    stray_patches: float = 0.1
    patches: int = 7


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One family of generated sets: what `ensure` writes for each role.

    Counts are (split, images) pairs. `trainaug` counts the extra images only: the split's list
    is `train` and these.
    """

    name: str
    seed: int = 0
    size: int = 65
    pretrain_size: int = 49
    street_size: tuple[int, int] = (65, 129)  # height, width
    appearance: Appearance = field(default_factory=Appearance)
    scene: SceneRecipe = field(default_factory=SceneRecipe)
    # Object radius in crops, as a share of half the crop's side.
    crop_radius: tuple[float, float] = (0.35, 1.0)
    voc: Counts
    coco: Counts
    cityscapes: Counts
    imagenet: Counts

    def __post_init__(self) -> None:
        if not 0 <= self.scene.pairs <= 3:
            raise DataError(
                f"recipe {self.name}: scene.pairs = {self.scene.pairs}; allowed: 0 to 3"
            )
        if self.size < 33 or self.pretrain_size < 25 or min(self.street_size) < 33:
            raise DataError(f"recipe {self.name}: images are too small to show the thin parts")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="micro",
            voc=(("train", 500), ("trainaug", 1000), ("val", 300), ("dev", 300), ("test", 150)),
            coco=(("train", 1500),),
            cityscapes=(("train", 400), ("val", 100), ("test", 50), ("train_extra", 400)),
            imagenet=(("train", 6000), ("val", 600)),
        ),
        Recipe(
            name="smoke",
            voc=(("train", 16), ("trainaug", 16), ("val", 8), ("dev", 8), ("test", 8)),
            coco=(("train", 24),),
            cityscapes=(("train", 12), ("val", 4), ("test", 4), ("train_extra", 8)),
            imagenet=(("train", 48), ("val", 12)),
        ),
    )
}


def relevant(recipe: Recipe, role: Role) -> dict[str, Any]:
    """Return the recipe's fields that the role's files depend on; never the recipe's name."""
    every = dataclasses.asdict(recipe)
    names = {
        "voc": ("seed", "size", "appearance", "scene", "voc"),
        "coco": ("seed", "size", "appearance", "scene", "coco"),
        "cityscapes": ("seed", "street_size", "appearance", "cityscapes"),
        "imagenet": (
            "seed", "pretrain_size", "appearance", "scene", "crop_radius", "imagenet",
        ),
    }  # fmt: skip
    if role not in names:
        raise DataError(f"embedded data: no role {role!r}; roles: {', '.join(ROLES)}")
    return {name: every[name] for name in names[role]}


def fingerprint(recipe: Recipe, role: Role) -> str:
    """Return a sha256, in hex, that changes when the set's pixels do. Generates nothing."""
    identity = {"version": VERSION, "role": role, "recipe": relevant(recipe, role)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
