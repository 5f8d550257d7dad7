"""PASCAL VOC's colours for class indices, and masks written with them as palette PNGs."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from replication.files import write_atomically

COLOURS = 256


def voc_palette() -> bytes:
    """The 256 colours of VOC's masks, r, g, b one after the other (768 bytes).

    The colour map of the VOC development kit (VOClabelcolormap): of every three bits of an index
    the lowest goes to red, the next to green and the next to blue, and the first three bits of the
    index to the highest bit of each. Void, 255, is (224, 224, 192).
    """
    index = np.arange(COLOURS)
    colours = np.zeros((COLOURS, 3), dtype=np.uint8)
    for channel in range(3):
        for position in range(3):
            bit = (index >> (3 * position + channel)) & 1
            colours[:, channel] |= (bit << (7 - position)).astype(np.uint8)
    return colours.tobytes()


def save_indexed(mask: NDArray[np.uint8], path: Path) -> Path:
    """Write class indices (h, w) uint8 as a palette PNG in VOC's colours, whole or not at all.

    The values come back as they were. Raises ValueError for another shape or type, and RunError
    where `path` cannot be written.
    """
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(f"a mask is (h, w) uint8, not {mask.shape} {mask.dtype}")
    image = Image.fromarray(mask)
    image.putpalette(voc_palette())  # grey values become indices
    encoded = io.BytesIO()
    image.save(encoded, format="PNG", optimize=True)
    return write_atomically(path, encoded.getvalue())
