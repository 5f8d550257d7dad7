"""An evaluation's forward passes and their sizes: all but the passes themselves. No torch."""

from collections.abc import Iterable
from math import prod

from replication.protocol import Evaluation

# Pixels in one batch of images. On a CPU small batches stay in its cache
# (benchmarks/speed/sweep.py measures what that is worth); benchmarks/gpu.py tries others on a GPU.
BATCH_PIXELS = {"cpu": 1 << 15, "cuda": 1 << 20}

# Output stride, scale, whether flipped.
Pass = tuple[int, float, bool]


def passes(strategies: Iterable[Evaluation]) -> dict[Pass, int]:
    """The forward passes that the strategies need, each once, with how many of them it serves."""
    needed: dict[Pass, int] = {}
    for one in strategies:
        for scale in one.scales:
            for flipped in (False, True) if one.flip else (False,):
                key = (one.output_stride, scale, flipped)
                needed[key] = needed.get(key, 0) + 1
    return dict(sorted(needed.items()))


def scaled_size(size: int, scale: float) -> int:
    """A side of k * stride + 1 pixels stays of that form at half or double the scale (TF)."""
    return int((size - 1) * scale + 1)


def padded_size(height: int, width: int, crop_size: int, stride: int) -> tuple[int, int]:
    """Bottom and right padding to the crop; a larger image to the next k * stride + 1."""

    def side(length: int) -> int:
        return crop_size if length <= crop_size else -(-(length - 1) // stride) * stride + 1

    return side(height), side(width)


def images_at_once(size: tuple[int, int], seen: tuple[int, int], batch_pixels: int) -> int:
    """How many images go through the network together, of this size where they are predicted and
    `seen` by the network at scale 1.
    """
    return max(1, batch_pixels // max(prod(size), prod(seen)))
