"""Photograph, truth and prediction side by side, as one small PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from replication.data.layouts import IGNORE_INDEX
from replication.data.palette import voc_palette
from replication.files import write_atomically

Bytes = NDArray[np.uint8]

COLUMNS = ("photograph", "truth", "prediction")
LARGEST_FILE = 150_000
# In pixels: a column's width, the tallest row (a portrait is narrower instead), what is around.
WIDTH, TALLEST, GAP, MARGIN, HEADING, LINE, SWATCH = 220, 196, 6, 10, 22, 22, 12
DPI = 100
FONT_POINTS, LETTER = 8.5, 7
INK, GREY, FRAME = "#333333", 176, 136
# Colours for the photographs; the first that gives a small file.
COLOURS = (216, 160, 112, 80, 56, 40, 24)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One picture (h, w, 3) uint8; its truth and prediction (h, w) uint8, 255 is void."""

    photograph: Bytes
    truth: Bytes
    prediction: Bytes


def panel(rows: Sequence[Row], classes: Sequence[str], path: Path) -> Path:
    """Draw the rows, and a legend of the classes that occur in them; returns the PNG's path.

    Six rows stay under 150 KB: pictures are shown some 220 pixels wide, and photographs get fewer
    colours until the file is that small. Raises RunError where it cannot be written.
    """
    present = sorted({int(v) for r in rows for m in (r.truth, r.prediction) for v in np.unique(m)})
    return write_atomically(path, _encode(_draw(rows, present, classes), rows, present))


def colour(mask: Bytes) -> Bytes:
    """Class indices (h, w) in VOC's colours (h, w, 3); void is white, hatched in grey."""
    shown = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)[mask]
    y, x = np.indices(mask.shape)
    hatch = np.where((x + y) % 5 < 2, GREY, 255).astype(np.uint8)
    return np.where((mask == IGNORE_INDEX)[..., None], hatch[..., None], shown)


def _draw(rows: Sequence[Row], present: Sequence[int], classes: Sequence[str]) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = ["void" if index == IGNORE_INDEX else classes[index] for index in present]
    cell = SWATCH + 6 + LETTER * max(map(len, names)) + 2 * GAP
    width = 2 * MARGIN + len(COLUMNS) * WIDTH + (len(COLUMNS) - 1) * GAP
    across = max(1, (width - 2 * MARGIN + 2 * GAP) // cell)
    sizes = [_shown_size(*row.truth.shape) for row in rows]
    pictures = sum(h + GAP for h, _ in sizes)
    height = HEADING + pictures + GAP + -(-len(names) // across) * LINE + GAP
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)

    def paste(left: int, top: int, pixels: Bytes) -> None:
        """Pixel for pixel, from the top left corner."""
        figure.figimage(pixels, left, height - top - pixels.shape[0], origin="upper")

    def write(x: float, y: float, text: str, **options: Any) -> None:
        figure.text(
            x / width, 1 - y / height, text, va="center", fontsize=FONT_POINTS, color=INK, **options
        )

    for column, name in enumerate(COLUMNS):
        write(MARGIN + column * (WIDTH + GAP) + WIDTH / 2, HEADING / 2, name, ha="center")
    top = HEADING
    for row, (h, w) in zip(rows, sizes, strict=True):
        photograph = Image.fromarray(row.photograph).resize((w, h), Image.Resampling.LANCZOS)
        shown = [np.asarray(photograph), *(_small(m, h, w) for m in (row.truth, row.prediction))]
        for column, pixels in enumerate(shown):
            paste(MARGIN + column * (WIDTH + GAP) + (WIDTH - w) // 2, top, pixels)
        top += h + GAP
    for number, (index, name) in enumerate(zip(present, names, strict=True)):
        left, line = MARGIN + number % across * cell, top + GAP + number // across * LINE
        swatch = np.full((SWATCH, SWATCH, 3), FRAME, dtype=np.uint8)
        inside = np.full((SWATCH - 2, SWATCH - 2), index, dtype=np.uint8)
        swatch[1:-1, 1:-1] = colour(inside)
        paste(left, line + (LINE - SWATCH) // 2, swatch)
        write(left + SWATCH + 6, line + LINE / 2, name, ha="left")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _shown_size(height: int, width: int) -> tuple[int, int]:
    factor = min(WIDTH / width, TALLEST / height)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _small(mask: Bytes, height: int, width: int) -> Bytes:
    """The mask's colours at the shown size: classes are not mixed, and the hatching is kept."""
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return colour(np.asarray(resized))


def _encode(drawn: Image.Image, rows: Sequence[Row], present: Sequence[int]) -> bytes:
    """As a palette PNG: the classes' colours as they are, the photographs' as few as needed."""
    swatches = colour(np.array([present], dtype=np.uint8))[0].tolist()
    flat = [*swatches, [255] * 3, [GREY] * 3, [FRAME] * 3, [0x33] * 3, [0x77] * 3, [0xBB] * 3]
    thumbnails = np.concatenate(
        [np.asarray(Image.fromarray(r.photograph).resize((96, 96))) for r in rows]
    )
    pixels = np.asarray(drawn)
    for count in COLOURS:
        room = min(count, 256 - len(flat))
        quantised = Image.fromarray(thumbnails).quantize(room, Image.Quantize.MEDIANCUT)
        palette = Image.new("P", (1, 1))
        palette.putpalette(
            [*(v for tint in flat for v in tint), *(quantised.getpalette() or [])[: 3 * room]]
        )
        near = drawn.quantize(palette=palette, dither=Image.Dither.NONE)
        # Pillow looks colours up coarsely: a near one of a photograph may have won.
        indices = np.array(near)
        for index, tint in enumerate(flat):
            indices[(pixels == tint).all(2)] = index
        exact = Image.fromarray(indices)
        exact.putpalette(near.getpalette() or [])
        encoded = io.BytesIO()
        exact.save(encoded, format="PNG", optimize=True)
        if len(encoded.getvalue()) <= LARGEST_FILE:
            break
    return encoded.getvalue()
