"""One photograph and its mask: decoded, checked, and what is wrong with them in a line."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from replication.data.layouts import IGNORE_INDEX, Listing
from replication.errors import DataError

SHOWN_PROBLEMS = 20
Progress = Callable[[int, int], None]
Bytes = NDArray[np.uint8]


def read_image(path: Path) -> tuple[Bytes | None, str]:
    """RGB (h, w, 3), or None and the problem."""
    return _read(path, as_mask=False)


def read_pair(listing: Listing, i: int) -> tuple[Bytes | None, Bytes | None, list[str]]:
    """Image i (h, w, 3) and its mask (h, w) as class indices with 255 void, or the problems.

    The mask of a set without masks is void everywhere.
    """
    image_hwc, problem = read_image(listing.images[i])
    problems = [problem] if problem else []
    if not listing.labelled:
        if image_hwc is None:
            return None, None, problems
        return image_hwc, np.full(image_hwc.shape[:2], IGNORE_INDEX, np.uint8), []
    mask_hw, found = _mask(listing, i)
    problems += found
    if image_hwc is None or mask_hw is None:
        return None, None, problems
    if image_hwc.shape[:2] != mask_hw.shape:
        (h, w), (mask_h, mask_w) = image_hwc.shape[:2], mask_hw.shape
        image, mask = listing.images[i], listing.masks[i]
        return None, None, [f"{mask}: the mask is {mask_w}x{mask_h}, its image {image} is {w}x{h}"]
    return image_hwc, mask_hw, problems


def read_mask(listing: Listing, i: int) -> Bytes:
    """Mask i alone. Raises DataError if it cannot be used."""
    mask_hw, problems = _mask(listing, i)
    raise_problems(problems)
    assert mask_hw is not None
    return mask_hw


def _mask(listing: Listing, i: int) -> tuple[Bytes | None, list[str]]:
    path = listing.masks[i]
    mask_hw, problem = _read(path, as_mask=True)
    if mask_hw is None:
        return None, [problem]
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[: len(listing.remap)] = listing.remap
    values = np.flatnonzero(np.bincount(mask_hw.ravel(), minlength=256))
    stray = [int(v) for v in values if v >= len(listing.remap) and v != IGNORE_INDEX]
    if stray:
        top = len(listing.remap) - 1
        return None, [f"{path}: value {stray[0]}; allowed are 0 to {top} and {IGNORE_INDEX}"]
    return table[mask_hw], []


def _read(path: Path, *, as_mask: bool) -> tuple[Bytes | None, str]:
    try:
        with Image.open(path) as file:
            if as_mask and file.mode not in ("P", "L"):
                return None, f"{path}: mode {file.mode}; a mask must be a palette or grey PNG"
            return np.array(file if as_mask else file.convert("RGB")), ""
    except FileNotFoundError:
        return None, f"{path}: missing"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        return None, f"{path}: cannot be read ({error})"


def decoded_bytes(listing: Listing) -> int:
    """Bytes that the split takes once decoded, from the images' headers; bad files count nothing.

    Four bytes a pixel: three of colour and one of the mask.
    """
    total = 0
    for path in listing.images:
        try:
            with Image.open(path) as file:
                total += 4 * file.width * file.height
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            continue  # decoding names it, with every other problem of the split
    return total


def check(listing: Listing, progress: Progress | None = None) -> NDArray[np.int64]:
    """Read every file of a split; returns the sizes (n, 2): h, w.

    Raises DataError with one line for every problem; nothing is written.
    """
    problems: list[str] = []
    sizes = []
    for i in range(len(listing.ids)):
        image_hwc, _, found = read_pair(listing, i)
        problems += found
        if image_hwc is not None:
            sizes.append(image_hwc.shape[:2])
        if progress:
            progress(i + 1, len(listing.ids))
    raise_problems(problems)
    return np.array(sizes, dtype=np.int64).reshape(-1, 2)


def raise_problems(problems: Sequence[str]) -> None:
    """One DataError for all of a split's problems, the first of them in full."""
    if problems:
        shown = list(problems[:SHOWN_PROBLEMS])
        if len(problems) > SHOWN_PROBLEMS:
            shown.append(f"and {len(problems) - SHOWN_PROBLEMS} more files with problems")
        raise DataError("\n".join(shown))
