"""Generated scenes of objects, and crops with a single object.

A scene is one of four kinds. Its hue lies over the whole background, between patches of other
hues, so that a small window judges it with noise and the whole image reliably. Some outlines are
shared by two classes, and only the kind of scene says which one it is.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from replication.data.embedded import shapes
from replication.data.embedded.paint import TEXTURES, Canvas, Float, Look, hsv_to_rgb, smooth_noise
from replication.data.embedded.recipe import Appearance, Recipe, SceneRecipe
from replication.data.embedded.shapes import Generator

VOC_CLASSES = ("background", *shapes.OWN)
COCO_CLASSES = (
    "background", "person", "bicycle", "car", "aeroplane", "boat", "bird", "zebra", "umbrella",
    "bottle", "pizza", "chair", "sofa", "pottedplant", "diningtable", "tvmonitor", "clock",
)  # fmt: skip

# Hue, in turns, of each kind of scene: a quarter of the circle apart.
SCENES = {"sky": 0.64, "water": 0.39, "street": 0.14, "indoor": 0.89}
# (the class whose outline both share, its scene), (the other class, its scene)
PAIRS = (
    (("boat", "water"), ("aeroplane", "sky")),
    (("car", "street"), ("sofa", "indoor")),
    (("diningtable", "street"), ("tvmonitor", "indoor")),
)
CROP_CLASSES = 12


@dataclass(frozen=True)
class Kind:
    """A class as it is drawn: whose outline it has, and in which scenes it stands."""

    outline: str
    scenes: tuple[str, ...]


@cache
def kinds(pairs: int) -> dict[str, Kind]:
    """Return every class, VOC's and the extra ones, with the first `pairs` pairs shared."""
    found = {name: Kind(name, tuple(SCENES)) for name in (*shapes.OWN, *shapes.EXTRA)}
    for (owner, scene), (other, other_scene) in PAIRS[:pairs]:
        found[owner] = Kind(owner, (scene,))
        found[other] = Kind(owner, (other_scene,))
    return found


@cache
def outlines(pairs: int) -> tuple[str, ...]:
    """Return the outlines in use, each named after the class that owns it."""
    return tuple(dict.fromkeys(kind.outline for kind in kinds(pairs).values()))


def crop_classes(pairs: int) -> tuple[str, ...]:
    """Return the classes of the role `imagenet`: outlines, so that no scene is given away."""
    return outlines(pairs)[:CROP_CLASSES]


def object_look(
    outline: str, radius: float, appearance: Appearance, pairs: int, rng: Generator
) -> Look:
    """Return a surface whose hue and texture mostly, not always, are the outline's own."""
    number = outlines(pairs).index(outline)
    slot = number if rng.random() < appearance.colour_cue else int(rng.integers(appearance.hues))
    textured = number if rng.random() < appearance.texture_cue else int(rng.integers(len(TEXTURES)))
    return Look(
        hue=(slot % appearance.hues + rng.normal(0, 0.16)) / appearance.hues,
        saturation=rng.uniform(0.5, 0.9),
        value=rng.uniform(0.4, 0.95),
        # Shifted every round of hues: outlines that share a hue differ in texture.
        texture=TEXTURES[(textured + textured // appearance.hues) % len(TEXTURES)],
        contrast=appearance.texture_contrast * rng.uniform(0.6, 1.4),
        period=rng.uniform(2.6, 3.4) + 0.12 * radius,
    )


def paint_object(
    canvas: Canvas,
    outline: str,
    label: int | None,
    centre: tuple[float, float],
    radius: float,
    appearance: Appearance,
    pairs: int,
    rng: Generator,
) -> None:
    """Draw one object of the outline on the canvas; with label None, unlabelled."""
    draw = shapes.OWN.get(outline) or shapes.EXTRA[outline]
    tilt = 180.0 if outline in shapes.TURNING else appearance.tilt
    parts = shapes.place(
        draw(rng), rng, centre=centre, radius=radius, tilt=tilt, wiggle=appearance.wiggle
    )
    canvas.paint(parts, object_look(outline, radius, appearance, pairs, rng), rng, label)


def background(size: int, hue: float, recipe: SceneRecipe, rng: Generator) -> Float:
    """Return a background (size, size, 3) in which the hue prevails, with a clear band of it."""
    cells = recipe.patches
    stray = rng.random((cells, cells)) < recipe.stray_patches
    hues = np.where(stray, rng.random((cells, cells)), hue + rng.normal(0, 0.03, (cells, cells)))
    saturation = recipe.saturation * rng.uniform(0.6, 1.4, (cells, cells))
    # Lighter above the horizon than below it, or the reverse: lightness says nothing.
    horizon, step = rng.uniform(0.25, 0.7), rng.uniform(-0.14, 0.14)
    side = np.where((np.arange(cells) + 0.5) / cells < horizon, step, -step)[:, None]
    value = rng.uniform(0.5, 0.72) + side + rng.uniform(-0.1, 0.1, (cells, cells))
    grid = hsv_to_rgb(hues, np.clip(saturation, 0, 1), np.clip(value, 0.1, 1))
    small = Image.fromarray((grid * 255).astype(np.uint8))
    large = small.resize((size, size), Image.Resampling.BICUBIC)
    rgb = np.asarray(large, np.float32) / np.float32(255)
    shade = smooth_noise(rng, (size, size), (size // 4, size // 4))
    rgb *= 1 + 0.12 * shade[..., None]
    # The band: a wavy strip at the horizon.
    wave = (
        1.5 * np.sin(np.arange(size) * rng.uniform(0.1, 0.3) + rng.uniform(0, 6)) + horizon * size
    )
    thick = rng.uniform(0.04, 0.09) * size
    band = np.abs(np.arange(size)[:, None] - wave[None]) < thick / 2
    rgb[band] = hsv_to_rgb(hue, min(1.0, 1.5 * recipe.saturation), float(np.mean(value)))
    return rgb


def add_clutter(canvas: Canvas, count: int, rng: Generator) -> None:
    """Paint things that are no class: blobs with ragged boundaries, and pieces of lines."""
    height, width = canvas.labels.shape
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        if rng.random() < 0.6:
            corners = int(rng.integers(5, 10))
            angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
            reach = rng.uniform(0.03, 0.11) * height * rng.uniform(0.5, 1.3, corners)
            part = shapes.Part(np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], 1))
        else:
            heading, length = rng.uniform(0, np.pi), rng.uniform(0.1, 0.35) * height
            x_end, y_end = x + length * np.cos(heading), y + length * np.sin(heading)
            part = shapes.stroke(rng.uniform(1.0, 2.5), (x, y), (x_end, y_end))
        look = Look(
            hue=rng.random(),
            saturation=rng.uniform(0.1, 0.8),
            value=rng.uniform(0.25, 0.95),
            texture=TEXTURES[int(rng.integers(len(TEXTURES)))],
            contrast=0.2,
        )
        canvas.paint([part], look, rng, None)


def scene(
    recipe: Recipe, classes: tuple[str, ...], index: int, style: str, rng: Generator
) -> tuple[Image.Image, NDArray[np.uint8]]:
    """Compose image number `index` of a split: the picture, and its labels (size, size).

    The first object's class goes round with the index, so that small splits hold every class;
    the others are drawn so that classes are about equally frequent over all scenes.
    """
    rules, size = recipe.scene, recipe.size
    known = kinds(rules.pairs)
    foreground = classes[1:]
    first = foreground[index % len(foreground)]
    where = known[first].scenes[int(rng.integers(len(known[first].scenes)))]
    possible = [name for name in foreground if where in known[name].scenes]
    # A class that stands in one scene of four is four times as likely there.
    weights = np.array([len(SCENES) / len(known[name].scenes) for name in possible])
    more = int(rng.integers(rules.objects[0], rules.objects[1] + 1)) - 1
    names = [first, *rng.choice(possible, size=more, p=weights / weights.sum())]

    canvas = Canvas(
        rgb=background(size, SCENES[where], rules, rng),
        labels=np.zeros((size, size), np.uint8),
        style=style,
        min_stroke=recipe.appearance.min_stroke,
    )
    add_clutter(canvas, int(rng.integers(rules.clutter[0], rules.clutter[1] + 1)), rng)
    low, high = np.log(np.array(rules.radius) * size / 65)
    strangers = [name for name in shapes.EXTRA if name not in classes]
    if strangers and rng.random() < rules.decoy:
        name, radius = strangers[int(rng.integers(len(strangers)))], np.exp(rng.uniform(low, high))
        spot = (rng.uniform(0, size), rng.uniform(0, size))
        paint_object(canvas, name, None, spot, radius, recipe.appearance, rules.pairs, rng)

    # Large ones lie behind small ones: otherwise small ones would mostly be hidden.
    radii = np.sort(np.exp(rng.uniform(low, high, size=len(names))))[::-1]
    placed: list[tuple[float, float, float]] = []
    for name, radius in zip(rng.permutation(names), radii, strict=True):
        x, y = _spot(radius, placed, size, rules.spacing, rng)
        placed.append((x, y, radius))
        kind = known[str(name)]
        label = classes.index(str(name))
        paint_object(
            canvas, kind.outline, label, (x, y), radius, recipe.appearance, rules.pairs, rng
        )
    return canvas.image(rng, recipe.appearance.noise), canvas.labels


def crop(recipe: Recipe, label: int, rng: Generator) -> Image.Image:
    """Compose one crop of the role `imagenet`, filled by an object of `crop_classes()[label]`."""
    size, pairs = recipe.pretrain_size, recipe.scene.pairs
    canvas = Canvas(
        rgb=background(size, rng.random(), recipe.scene, rng),
        labels=np.zeros((size, size), np.uint8),
        min_stroke=recipe.appearance.min_stroke,
    )
    add_clutter(canvas, int(rng.integers(1, 5)), rng)
    radius = size / 2 * rng.uniform(*recipe.crop_radius)
    # A small object may stand anywhere that it fits; a large one stays near the middle.
    room = max(0.06 * size, size / 2 - radius)
    x, y = size / 2 + rng.uniform(-room, room, size=2)
    outline = crop_classes(pairs)[label]
    paint_object(canvas, outline, None, (x, y), radius, recipe.appearance, pairs, rng)
    return canvas.image(rng, recipe.appearance.noise)


def _spot(
    radius: float,
    placed: list[tuple[float, float, float]],
    size: int,
    spacing: float,
    rng: Generator,
) -> tuple[float, float]:
    """Return a centre: mostly within the frame, and clear of the others if a few tries find one."""
    margin = min(0.7 * radius, 0.45 * size)
    x = y = size / 2
    for _ in range(12):
        x, y = rng.uniform(margin, size - margin, size=2)
        if all(np.hypot(x - u, y - v) >= spacing * (radius + r) for u, v, r in placed):
            break
    return float(x), float(y)
