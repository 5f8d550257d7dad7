"""Generated street scenes with Cityscapes' 19 classes, painted from the sky to the bonnet.

Depth t runs from 0 at the horizon to 1 at the bottom of the frame; sizes grow with it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from replication.data.embedded import shapes
from replication.data.embedded.paint import VOID, Canvas, Look, hsv_to_rgb, smooth_noise
from replication.data.embedded.recipe import Recipe
from replication.data.embedded.shapes import Generator, Part

# In the order of the official train ids.
CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
TRAIN_ID = {name: number for number, name in enumerate(CLASSES)}
THIN = ("pole", "traffic light", "traffic sign")


def _block(rng: Generator, *, front: float, top: float, base: float = 0.75) -> list[Part]:
    """A long vehicle: a body, a cut front, and wheels."""
    body = shapes.polygon((-1.2, top), (1.2 - front, top), (1.2, top + 1.2 * front), (1.2, base),
                          (-1.2, base))  # fmt: skip
    return [body, *(shapes.ellipse(x, base, 0.2, 0.2) for x in (-0.75, 0.75))]


def _truck(rng: Generator) -> list[Part]:
    load = shapes.polygon((-1.2, -0.85), (0.35, -0.85), (0.35, 0.7), (-1.2, 0.7))
    cab = shapes.polygon((0.4, -0.35), (0.95, -0.35), (1.15, 0.1), (1.15, 0.7), (0.3, 0.7))
    return [load, cab, *(shapes.ellipse(x, 0.75, 0.2, 0.2) for x in (-0.8, -0.35, 0.8))]


def _bus(rng: Generator) -> list[Part]:
    return _block(rng, front=0.08, top=-0.75)


def _tram(rng: Generator) -> list[Part]:
    long = shapes.polygon((-2.4, -0.55), (1.5, -0.55), (1.9, 0.1), (1.9, 0.8), (-2.4, 0.8))
    wire = shapes.stroke(0.07, (-0.3, -0.55), (0.1, -0.95), (-0.3, -1.2))
    return [long, wire]


def _motorcycle(rng: Generator) -> list[Part]:
    wheels = [shapes.ellipse(x, 0.45, 0.36, 0.36) for x in (-0.6, 0.6)]
    body = shapes.polygon((-0.85, -0.1), (0.3, -0.15), (0.5, 0.3), (-0.5, 0.4))
    return [*wheels, body, shapes.stroke(0.14, (0.6, 0.45), (0.3, -0.5), (0.1, -0.55))]


@dataclass(frozen=True)
class Traffic:
    """Something that moves: outline, usual hue, height in 65ths of the frame at depth 1."""

    outline: shapes.Outline
    hue: float
    radius: float
    weight: float
    texture: str = "plain"


TRAFFIC = {
    "car": Traffic(shapes.OWN["car"], 0.62, 17, 0.3),
    "truck": Traffic(_truck, 0.08, 23, 0.13, "bands"),
    "bus": Traffic(_bus, 0.15, 24, 0.13, "checks"),
    "train": Traffic(_tram, 0.98, 21, 0.13, "dots"),
    "motorcycle": Traffic(_motorcycle, 0.45, 12, 0.1),
    "bicycle": Traffic(shapes.OWN["bicycle"], 0.3, 12, 0.14),
    "person": Traffic(shapes.OWN["person"], 0.85, 13, 0.3),
}


def street(
    recipe: Recipe, rng: Generator, *, coarse: bool = False
) -> tuple[Image.Image, NDArray[np.uint8]]:
    """Compose one frame and its train ids, fine or coarse. The picture is the same either way."""
    height, width = recipe.street_size
    sky = hsv_to_rgb(rng.uniform(0.52, 0.66), rng.uniform(0.05, 0.4), rng.uniform(0.75, 0.98))
    canvas = Canvas(
        rgb=np.broadcast_to(sky, (height, width, 3)).copy(),
        labels=np.full((height, width), TRAIN_ID["sky"], np.uint8),
        min_stroke=recipe.appearance.min_stroke,
    )
    horizon = height * rng.uniform(0.38, 0.5)
    vanishing = width * rng.uniform(0.38, 0.62)
    _skyline(canvas, horizon, rng)
    _ground(canvas, horizon, vanishing, rng)
    _sides(canvas, horizon, vanishing, rng)
    _traffic(canvas, horizon, vanishing, rng)
    if rng.random() < 0.8:  # the car's own bonnet: void, as in the original
        bonnet = shapes.ellipse(width / 2, height * 1.08, width * 0.42, height * 0.16, 20)
        look = Look(hue=0.6, saturation=0.1, value=rng.uniform(0.1, 0.3))
        canvas.paint([bonnet], look, rng, VOID)
    canvas.rgb[...] *= 1 + 0.1 * smooth_noise(rng, (height, width), (5, 9))[..., None]
    image = canvas.image(rng, recipe.appearance.noise)
    return image, coarsen(canvas.labels, rng) if coarse else canvas.labels


def coarsen(labels: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """Return labels as of polygons drawn well inside their objects: void near every boundary.

    Thin things have no inside: they are kept whole, or left out.
    """
    picture = Image.fromarray(labels)
    least = np.asarray(picture.filter(ImageFilter.MinFilter(3)))
    most = np.asarray(picture.filter(ImageFilter.MaxFilter(3)))
    keep = least == most
    for name in THIN:
        keep |= (labels == TRAIN_ID[name]) & (rng.random() < 0.6)
    return np.where(keep, labels, np.uint8(VOID))


def _skyline(canvas: Canvas, horizon: float, rng: Generator) -> None:
    height, width = canvas.labels.shape
    x = -rng.uniform(0, 0.1) * width
    while x < width:
        across = rng.uniform(0.1, 0.28) * width
        if rng.random() < 0.75:
            top = horizon * rng.uniform(0.0, 0.75)
            house = shapes.polygon((x, top), (x + across, top), (x + across, horizon + 2),
                                   (x, horizon + 2))  # fmt: skip
            look = Look(
                hue=rng.uniform(0.0, 0.12),
                saturation=rng.uniform(0.1, 0.45),
                value=rng.uniform(0.35, 0.75),
                texture=("checks", "dots")[int(rng.integers(2))],
                contrast=0.25,
                period=rng.uniform(4, 7),
            )
            canvas.paint([house], look, rng, TRAIN_ID["building"])
        x += across
    for _ in range(int(rng.integers(1, 5))):
        _bush(canvas, rng.uniform(0, width), horizon - 0.05 * height, rng)


def _bush(canvas: Canvas, x: float, y: float, rng: Generator) -> None:
    height = canvas.labels.shape[0]
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    reach = height * rng.uniform(0.08, 0.22) * rng.uniform(0.7, 1.2, 12)
    crown = Part(np.stack([x + 1.2 * reach * np.cos(angle), y + reach * np.sin(angle)], 1))
    look = Look(hue=rng.uniform(0.25, 0.36), saturation=rng.uniform(0.35, 0.7),
                value=rng.uniform(0.25, 0.5), texture="speckle", contrast=0.3)  # fmt: skip
    canvas.paint([crown], look, rng, TRAIN_ID["vegetation"])


def _ground(canvas: Canvas, horizon: float, vanishing: float, rng: Generator) -> None:
    """Terrain beside a sidewalk beside the road, all meeting at the vanishing point."""
    height, width = canvas.labels.shape
    margin = rng.uniform(0.2, 0.6)

    def wedge(reach: float) -> Part:
        foot = height * 1.02
        return shapes.polygon((vanishing - 2, horizon), (vanishing + 2, horizon),
                              (vanishing + reach * width, foot),
                              (vanishing - reach * width, foot))  # fmt: skip

    whole = shapes.polygon((-2, horizon), (width + 2, horizon), (width + 2, height + 2),
                           (-2, height + 2))  # fmt: skip
    green = Look(hue=rng.uniform(0.13, 0.28), saturation=rng.uniform(0.3, 0.55),
                 value=rng.uniform(0.45, 0.7), texture="speckle", contrast=0.15)  # fmt: skip
    paved = Look(hue=rng.uniform(0.9, 1.05), saturation=rng.uniform(0.05, 0.2),
                 value=rng.uniform(0.5, 0.7), texture="checks", contrast=0.08)  # fmt: skip
    asphalt = Look(hue=rng.uniform(0.6, 0.8), saturation=rng.uniform(0.05, 0.15),
                   value=rng.uniform(0.28, 0.45), texture="speckle", contrast=0.1)  # fmt: skip
    canvas.paint([whole], green, rng, TRAIN_ID["terrain"])
    reach = rng.uniform(0.5, 0.8)
    canvas.paint([wedge(reach + margin)], paved, rng, TRAIN_ID["sidewalk"])
    canvas.paint([wedge(reach)], asphalt, rng, TRAIN_ID["road"])


def _sides(canvas: Canvas, horizon: float, vanishing: float, rng: Generator) -> None:
    """A wall or a fence on either side, and poles with lights and signs."""
    height, width = canvas.labels.shape
    for side in (-1, 1):
        name = ("wall", "fence", "")[int(rng.integers(3))]
        if not name:
            continue
        far, near = vanishing + side * 0.12 * width, vanishing + side * 0.65 * width
        low, tall = rng.uniform(0.08, 0.14) * height, rng.uniform(0.12, 0.3) * height
        strip = shapes.polygon((far, horizon - 1), (near, horizon - 0.4 * tall),
                               (near, horizon + low + 0.4 * tall), (far, horizon + 3))  # fmt: skip
        if name == "wall":
            look = Look(hue=rng.uniform(0.03, 0.1), saturation=0.2, value=rng.uniform(0.5, 0.8),
                        texture="bands", contrast=0.12, period=5)  # fmt: skip
        else:
            look = Look(hue=rng.uniform(0.05, 0.1), saturation=0.45, value=rng.uniform(0.3, 0.5),
                        texture="stripes", contrast=0.5, period=2.6)  # fmt: skip
        canvas.paint([strip], look, rng, TRAIN_ID[name])
    for _ in range(int(rng.integers(2, 5))):
        t = rng.uniform(0.25, 0.9)
        x = vanishing + rng.choice([-1, 1]) * width * rng.uniform(0.12, 0.3 + 0.4 * t)
        foot, tip = horizon + 0.35 * t * height, horizon - t * height * rng.uniform(0.3, 0.5)
        grey = Look(hue=0.6, saturation=0.05, value=rng.uniform(0.3, 0.65))
        pole = shapes.stroke(0.6 + 1.8 * t, (x, foot), (x, tip))
        canvas.paint([pole], grey, rng, TRAIN_ID["pole"])
        half = (1.2 + 4.0 * t) * height / 65
        if rng.random() < 0.45:
            box = shapes.polygon(
                (x - 0.6 * half, tip - half),
                (x + 0.6 * half, tip - half),
                (x + 0.6 * half, tip + half),
                (x - 0.6 * half, tip + half),
            )
            lamp = Look(hue=rng.choice([0.0, 0.13, 0.36]), saturation=0.8, value=0.3,
                        texture="dots", contrast=0.9, period=max(2.5, half))  # fmt: skip
            canvas.paint([box], lamp, rng, TRAIN_ID["traffic light"])
        else:
            corners = (3, 4, 12)[int(rng.integers(3))]
            plate = shapes.ellipse(x, tip, half, half, corners)
            hue, value = rng.choice([0.0, 0.15, 0.62]), rng.uniform(0.7, 0.95)
            sign = Look(hue=hue, saturation=0.85, value=value)
            canvas.paint([plate], sign, rng, TRAIN_ID["traffic sign"])


def _traffic(canvas: Canvas, horizon: float, vanishing: float, rng: Generator) -> None:
    """Vehicles on the road, people beside it, riders on some two-wheelers; far ones first."""
    height, width = canvas.labels.shape
    names = list(TRAFFIC)
    weights = np.array([TRAFFIC[name].weight for name in names])
    count = int(rng.integers(4, 9))
    for t in np.sort(np.exp(rng.uniform(np.log(0.22), np.log(0.95), size=count))):
        name = str(rng.choice(names, p=weights / weights.sum()))
        one = TRAFFIC[name]
        radius = one.radius * t * height / 65
        beside = name in ("person", "bicycle", "motorcycle")
        spread = rng.uniform(0.3, 0.8) * rng.choice([-1, 1]) if beside else rng.uniform(-0.55, 0.55)
        x = vanishing + spread * (0.15 + t) * width * 0.7
        y = horizon + 0.6 * t * (height - horizon) - 0.45 * radius
        hue = one.hue if rng.random() < 0.6 else rng.random()
        look = Look(hue=hue + rng.normal(0, 0.03), saturation=rng.uniform(0.4, 0.85),
                    value=rng.uniform(0.25, 0.9), texture=one.texture, contrast=0.3,
                    period=2.6 + 0.2 * radius)  # fmt: skip
        parts = shapes.place(
            one.outline(rng), rng, centre=(x, y), radius=radius, tilt=3, wiggle=0.02
        )
        canvas.paint(parts, look, rng, TRAIN_ID[name])
        if name in ("bicycle", "motorcycle") and rng.random() < 0.65:
            rider = shapes.place(
                TRAFFIC["person"].outline(rng), rng,
                centre=(x, y - 0.7 * radius), radius=0.9 * radius, tilt=12, wiggle=0.02,
            )  # fmt: skip
            clothes = Look(hue=rng.normal(0.0, 0.05), saturation=0.6, value=rng.uniform(0.3, 0.9))
            canvas.paint(rider, clothes, rng, TRAIN_ID["rider"])
