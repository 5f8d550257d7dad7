"""A picture and its label map, painted together: colour blends by coverage, labels do not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from replication.data.embedded.shapes import Generator, Part, coarse_part

Float = NDArray[np.float32]
VOID = 255
# Sub-pixels along a side of a pixel, for the coverage of boundaries.
SUBPIXELS = 4
TEXTURES = ("plain", "stripes", "checks", "dots", "bands", "speckle")


def hsv_to_rgb(hue: Float | float, saturation: Float | float, value: Float | float) -> Float:
    """Return RGB of 0..1 in a new last axis, for hues in turns of any size."""
    hue, saturation, value = np.broadcast_arrays(
        np.asarray(hue, np.float32),
        np.asarray(saturation, np.float32),
        np.asarray(value, np.float32),
    )
    k = (np.array([5, 3, 1], np.float32) + 6 * (hue[..., None] % 1)) % 6
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.asarray(value[..., None] * (1 - saturation[..., None] * ramp), np.float32)


def smooth_noise(rng: Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Float:
    """Return noise in -1..1 of `shape` (height, width), smooth between `cells` random values."""
    grid = Image.fromarray(rng.integers(0, 256, size=cells, dtype=np.uint8))
    large = grid.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(large, np.float32) / 127.5 - 1


@dataclass(frozen=True, kw_only=True)
class Look:
    """A surface: HSV colour of 0..1, texture, its contrast (share of the value) and period (px)."""

    hue: float
    saturation: float
    value: float
    texture: str = "plain"
    contrast: float = 0.0
    period: float = 4.0

    def over(self, rng: Generator, height: int, width: int) -> Float:
        """Return the surface as RGB (height, width, 3)."""
        colour = hsv_to_rgb(self.hue, self.saturation, self.value)
        y, x = np.ogrid[:height, :width]
        phase = rng.uniform(0, 2 * np.pi, size=2)
        pitch = 2 * np.pi / self.period
        across, along = np.sin(pitch * x + phase[0]), np.sin(pitch * y + phase[1])
        pattern: NDArray[np.float64] | Float
        if self.texture == "stripes":
            pattern = np.sin(pitch * (x + 0.5 * y) + phase[0])
        elif self.texture == "bands":
            pattern = along
        elif self.texture == "checks":
            pattern = np.sign(across * along)
        elif self.texture == "dots":
            pattern = 2.0 * (across + along > 0.8) - 0.6
        elif self.texture == "speckle":
            pattern = rng.uniform(-1, 1, size=(height, width))
        else:
            pattern = np.zeros((1, 1))
        # Plain things are shaded a little too, from top to bottom.
        shade = 1 + self.contrast * pattern + 0.12 * (0.5 - y / max(height - 1, 1))
        return np.asarray(colour * np.broadcast_to(shade, (height, width))[..., None], np.float32)


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """An image (height, width, 3; 0..1) and its labels (height, width), painted back to front.

    `style` says how labels are drawn: "exact"; "ringed", exact with one pixel of void around
    each object, outside it; or "coarse", with rings filled and strokes widened.
    """

    rgb: Float
    labels: NDArray[np.uint8]
    style: str = "exact"
    min_stroke: float = 1.3

    def paint(self, parts: list[Part], look: Look, rng: Generator, label: int | None) -> None:
        """Paint one object. With `label` None it leaves the labels alone: clutter."""
        found = coverage(parts, self.labels.shape, self.min_stroke)
        if found is None:
            return
        rows, columns, alpha = found
        surface = look.over(rng, *alpha.shape)
        self.rgb[rows, columns] += alpha[..., None] * (surface - self.rgb[rows, columns])
        if label is None:
            return
        if self.style == "coarse":
            # The exact parts too: a filled ring ends at the middle of its stroke.
            drawn = [*parts, *(coarse_part(part, widen=1.5) for part in parts)]
            found = coverage(drawn, self.labels.shape, self.min_stroke)
            if found is None:
                return
            rows, columns, alpha = found
        inside = alpha >= 0.5
        region = self.labels[rows, columns]  # a view: written in place
        if self.style == "ringed":
            region[grow(inside) & ~inside] = VOID
        region[inside] = label

    def image(self, rng: Generator, noise: float) -> Image.Image:
        """Return the picture as 8-bit RGB, with pixel noise of standard deviation `noise`."""
        grain = rng.standard_normal(self.rgb.shape, dtype=np.float32)
        return Image.fromarray(
            (np.clip(self.rgb + noise * grain, 0, 1) * 255 + 0.5).astype(np.uint8)
        )


def coverage(
    parts: list[Part], shape: tuple[int, ...], min_stroke: float
) -> tuple[slice, slice, Float] | None:
    """Return how much of each pixel the parts cover, 0..1, and the rows and columns it is for.

    The window has a margin of two pixels where the frame allows. None: nothing in the frame.
    """
    reach = 2 + max((part.width for part in parts), default=0.0) / 2
    xy = np.concatenate([part.points for part in parts])
    left, top = np.floor(xy.min(axis=0) - reach).astype(int).clip(0)
    right, bottom = np.ceil(xy.max(axis=0) + reach).astype(int)
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    if right <= left or bottom <= top:
        return None
    fine = Image.new("L", ((right - left) * SUBPIXELS, (bottom - top) * SUBPIXELS))
    draw = ImageDraw.Draw(fine)
    for part in parts:
        # Pillow takes whole sub-pixels and draws the last one too. Given the sub-pixel that a
        # corner lies in, shapes grow by half a sub-pixel on either side alike: no shift.
        points = np.floor((part.points - (left, top)) * SUBPIXELS).ravel().tolist()
        if part.width == 0:
            draw.polygon(points, fill=255)
        else:
            width = round(max(part.width, min_stroke) * SUBPIXELS)
            draw.line(points + points[:2] if part.closed else points, fill=255, width=width)
    alpha = np.asarray(fine.reduce(SUBPIXELS), np.float32) / np.float32(255)
    return slice(top, bottom), slice(left, right), alpha


def grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask and its eight-neighbourhood."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
