"""Outlines: each a few filled polygons and strokes, in units of the object's radius, y down.

An outline is drawn anew for each object: proportions and joints vary with the generator passed
in. Thin parts are strokes, so that a coarse annotation can fill and widen them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Part:
    """A filled polygon, or with `width` > 0 a stroke along the points (N x 2)."""

    points: Points
    width: float = 0.0
    closed: bool = True


Outline = Callable[[Generator], list[Part]]


def polygon(*points: tuple[float, float]) -> Part:
    return Part(np.array(points, dtype=np.float64))


def stroke(width: float, *points: tuple[float, float]) -> Part:
    return Part(np.array(points, dtype=np.float64), width, closed=False)


def ellipse(x: float, y: float, a: float, b: float, corners: int = 14) -> Part:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return Part(np.stack([x + a * np.cos(angle), y + b * np.sin(angle)], axis=1))


def ring(x: float, y: float, radius: float, width: float) -> Part:
    return Part(ellipse(x, y, radius, radius, 18).points, width)


def _box(left: float, top: float, right: float, bottom: float) -> Part:
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def _hull(rng: Generator) -> list[Part]:
    deck, tip = rng.uniform(-0.05, 0.15), rng.uniform(-0.95, -0.7)
    body = polygon((-1.0, deck), (-0.7, 0.5), (0.65, 0.5), (1.05, deck - 0.1), (0.4, deck))
    fin = polygon((-0.45, deck + 0.02), (-0.1, tip), (0.4, deck + 0.02))
    return [body, fin]


def _dart(rng: Generator) -> list[Part]:
    sweep = rng.uniform(0.1, 0.35)
    body = polygon((-1.0, 0.12), (-1.0, -0.08), (0.7, -0.13), (1.05, 0.0), (0.7, 0.16))
    wings = polygon((0.3, 0.0), (-sweep, -0.95), (-sweep - 0.25, -0.95), (-0.2, 0.0),
                    (-sweep - 0.25, 0.95), (-sweep, 0.95))  # fmt: skip
    return [body, wings, polygon((-1.05, -0.4), (-0.7, 0.0), (-1.05, 0.4))]


def _bench(rng: Generator) -> list[Part]:
    """A low body with a raised back on one side and two feet: a sofa, or a car."""
    back, seat = rng.uniform(-0.65, -0.45), rng.uniform(-0.15, 0.05)
    body = polygon((-1.0, seat), (-0.75, seat), (-0.55, back), (0.25, back), (0.5, seat),
                   (1.0, seat + 0.05), (1.0, 0.4), (-1.0, 0.4))  # fmt: skip
    return [body, ellipse(-0.6, 0.42, 0.2, 0.2), ellipse(0.6, 0.42, 0.2, 0.2)]


def _couch(rng: Generator) -> list[Part]:
    arm = rng.uniform(0.18, 0.28)
    back = rng.uniform(-0.6, -0.4)
    return [polygon((-1.0, -0.2), (-1.0 + arm, -0.2), (-1.0 + arm, back), (1.0 - arm, back),
                    (1.0 - arm, -0.2), (1.0, -0.2), (1.0, 0.5), (-1.0, 0.5))]  # fmt: skip


def _table(rng: Generator) -> list[Part]:
    """A deep slab on thin legs: a dining table, or a monitor on its stand."""
    top, thick = rng.uniform(-0.6, -0.45), rng.uniform(0.35, 0.5)
    low, splay = top + thick, rng.uniform(0.0, 0.2)
    slab = polygon((-1.0, low), (-0.85, top), (0.85, top), (1.0, low))
    legs = [stroke(0.1, (x, low - 0.05), (x * (1 + splay), 0.8)) for x in (-0.75, 0.75)]
    inner = [stroke(0.08, (x, low - 0.05), (x, 0.6)) for x in (-0.35, 0.35)]
    return [slab, *legs, *inner]


def _monitor(rng: Generator) -> list[Part]:
    half = rng.uniform(0.75, 0.95)
    antenna = rng.uniform(0.3, 0.6)
    return [_box(-half, -0.5, half, 0.45), _box(-0.12, 0.4, 0.12, 0.75), _box(-0.4, 0.7, 0.4, 0.82),
            stroke(0.07, (0, -0.5), (-antenna, -1.0)),
            stroke(0.07, (0, -0.5), (antenna, -1.0))]  # fmt: skip


def _bicycle(rng: Generator) -> list[Part]:
    wheel, base = rng.uniform(0.38, 0.46), rng.uniform(0.5, 0.58)
    y, width = 0.35, rng.uniform(0.09, 0.12)
    saddle, bar = (-0.2, -0.3), (0.35, -0.35)
    frame = [stroke(width, (-base, y), saddle, bar, (base, y)),
             stroke(width, (-base, y), (0.02, y), bar), stroke(width, (0.02, y), saddle),
             stroke(width, bar, (0.28, -0.6), (0.5, -0.66)),
             stroke(1.6 * width, (-0.36, -0.38), (-0.06, -0.38))]  # fmt: skip
    return [ring(-base, y, wheel, width), ring(base, y, wheel, width), *frame]


def _bird(rng: Generator) -> list[Part]:
    lift = rng.uniform(-0.95, -0.5)
    wing = polygon((-0.25, 0.0), (-0.55, lift), (-0.3, lift + 0.1), (0.0, lift + 0.25), (0.25, 0.0))
    head = ellipse(0.65, -0.3, 0.22, 0.2, 10)
    return [ellipse(0.1, 0.08, 0.6, 0.3), head, polygon((0.82, -0.38), (1.15, -0.22), (0.82, -0.2)),
            polygon((-0.35, 0.0), (-1.05, -0.15), (-0.95, 0.25), (-0.3, 0.2)), wing,
            stroke(0.07, (0.05, 0.3), (-0.02, 0.75)),
            stroke(0.07, (0.25, 0.3), (0.25, 0.75))]  # fmt: skip


def _bottle(rng: Generator) -> list[Part]:
    body, neck = rng.uniform(0.3, 0.42), rng.uniform(0.1, 0.15)
    shoulder = rng.uniform(-0.35, -0.1)
    return [polygon((-neck, -1.05), (neck, -1.05), (neck, shoulder - 0.2), (body, shoulder + 0.15),
                    (body, 1.0), (-body, 1.0), (-body, shoulder + 0.15),
                    (-neck, shoulder - 0.2))]  # fmt: skip


def _chair(rng: Generator) -> list[Part]:
    seat, lean = rng.uniform(0.05, 0.2), rng.uniform(0.0, 0.2)
    width = rng.uniform(0.09, 0.12)
    back = [stroke(width, (-0.45, seat), (-0.45 - lean, -1.0)),
            stroke(width, (-0.22, seat), (-0.22 - lean, -1.0)),
            stroke(1.8 * width, (-0.5 - lean, -0.95), (-0.15 - lean, -0.95))]  # fmt: skip
    legs = [stroke(width, (x, seat), (x * 1.15, 1.0)) for x in (-0.5, -0.2, 0.3, 0.58)]
    return [_box(-0.6, seat - 0.1, 0.68, seat + 0.14), *back, *legs]


def _person(rng: Generator) -> list[Part]:
    limb, hip, shoulder = rng.uniform(0.12, 0.16), 0.15, -0.48

    def limb_from(x: float, y: float, side: int, length: float, spread: float) -> Part:
        first, second = rng.uniform(0.05, spread, size=2) * side
        knee = (x + length * np.sin(first), y + length * np.cos(first))
        end = (knee[0] + length * np.sin(second), knee[1] + length * np.cos(second))
        return stroke(limb, (x, y), knee, end)

    return [ellipse(0.0, -0.8, 0.19, 0.22, 12),
            polygon((-0.24, shoulder - 0.05), (0.24, shoulder - 0.05), (0.17, hip + 0.08),
                    (-0.17, hip + 0.08)),
            stroke(0.12, (0.0, -0.65), (0.0, -0.4)),
            limb_from(-0.11, hip, -1, 0.44, 0.55), limb_from(0.11, hip, 1, 0.44, 0.55),
            limb_from(-0.2, shoulder, -1, 0.33, 1.7),
            limb_from(0.2, shoulder, 1, 0.33, 1.7)]  # fmt: skip


def _plant(rng: Generator) -> list[Part]:
    leaves = []
    for angle in np.linspace(-1.25, 1.25, int(rng.integers(5, 8))) + rng.uniform(-0.1, 0.1):
        length, half = rng.uniform(0.85, 1.15), rng.uniform(0.07, 0.12)
        along = np.array([np.sin(angle), -np.cos(angle)])
        across = np.array([along[1], -along[0]])
        root = np.array([0.0, 0.25])
        leaves.append(Part(np.stack([root, root + 0.6 * length * along + half * across,
                                     root + length * along,
                                     root + 0.6 * length * along - half * across])))  # fmt: skip
    return [*leaves, stroke(0.1, (0.0, 0.2), (0.0, 0.5)),
            polygon((-0.42, 0.4), (0.42, 0.4), (0.28, 1.0), (-0.28, 1.0))]  # fmt: skip


def _star(rng: Generator) -> list[Part]:
    points = 2 * int(rng.integers(5, 7))
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = np.where(np.arange(points) % 2, rng.uniform(0.38, 0.5), 1.0)
    return [Part(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))]


def _ring(rng: Generator) -> list[Part]:
    return [ring(0.0, 0.0, 0.75, rng.uniform(0.3, 0.45))]


def _cross(rng: Generator) -> list[Part]:
    arm = rng.uniform(0.2, 0.3)
    return [_box(-arm, -1.0, arm, 1.0), _box(-1.0, -arm, 1.0, arm)]


def _spiral(rng: Generator) -> list[Part]:
    angle = np.linspace(0, 2 * np.pi * rng.uniform(1.6, 2.1), 36)
    radius = 0.12 + 0.85 * angle / angle[-1]
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return [Part(points, rng.uniform(0.13, 0.18), closed=False)]


# A class's own outline, in VOC's order; the pairs below replace some by a shared one.
OWN: dict[str, Outline] = {
    "aeroplane": _dart,
    "bicycle": _bicycle,
    "bird": _bird,
    "boat": _hull,
    "bottle": _bottle,
    "car": _bench,
    "chair": _chair,
    "diningtable": _table,
    "person": _person,
    "pottedplant": _plant,
    "sofa": _couch,
    "tvmonitor": _monitor,
}
# COCO classes that are no VOC class.
EXTRA: dict[str, Outline] = {
    "pizza": _star,
    "clock": _ring,
    "zebra": _cross,
    "umbrella": _spiral,
}
# Outlines without an upright position.
TURNING = frozenset(EXTRA)


def coarse_part(part: Part, widen: float) -> Part:
    """Return the part as a hurried annotator draws it: rings filled, strokes `widen` wider."""
    if part.width == 0:
        return part
    return Part(part.points) if part.closed else Part(part.points, part.width + widen, closed=False)


def place(
    parts: list[Part],
    rng: Generator,
    *,
    centre: tuple[float, float],
    radius: float,
    tilt: float,
    wiggle: float,
    mirror: bool = True,
) -> list[Part]:
    """Turn, stretch and bend an outline, and set it at `centre` (x, y) with `radius`, in pixels.

    Edges are cut finely first, so that bending makes them wiggly and not merely displaced.
    """
    cut = [Part(_cut(p.points, closed=p.closed), p.width * radius, p.closed) for p in parts]
    xy = np.concatenate([p.points for p in cut])
    # Bending is a displacement field over the object: parts that touch still touch afterwards.
    phase = rng.uniform(0, 2 * np.pi, size=(2, 2))
    pitch = rng.uniform(0.7, 1.3, size=(2, 2)) * np.array([[4.0], [9.0]])
    share = np.array([0.7, 0.5])
    bend_x = (share * np.sin(pitch[:, 0] * xy[:, 1:] + phase[:, 0])).sum(axis=1)
    bend_y = (share * np.sin(pitch[:, 1] * xy[:, :1] + phase[:, 1])).sum(axis=1)
    xy = xy + wiggle * np.stack([bend_x, bend_y], axis=1)
    squeeze = np.exp(rng.uniform(-0.16, 0.16))
    flip = -1.0 if rng.random() < 0.5 and mirror else 1.0
    angle = np.deg2rad(rng.uniform(-tilt, tilt))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    xy = (xy * [flip * squeeze, 1 / squeeze]) @ turn * radius + np.asarray(centre)
    ends = np.cumsum([len(p.points) for p in cut])[:-1]
    return [
        Part(points, p.width, p.closed) for p, points in zip(cut, np.split(xy, ends), strict=True)
    ]


def _cut(points: Points, *, closed: bool, pieces: int = 4) -> Points:
    if len(points) > 12:  # an ellipse or a spiral: fine enough
        return points
    step = np.linspace(0, 1, pieces, endpoint=False)[:, None]
    following = np.roll(points, -1, axis=0)
    fine = (points[:, None] * (1 - step) + following[:, None] * step).reshape(-1, 2)
    return fine if closed else fine[: -(pieces - 1)]
