"""How many weights of a 3x3 atrous convolution fall on the feature map (section 3.3, Figure 4).

Two ways that must agree: a closed form, and a count with the convolution itself.
"""

from collections import Counter

# What a product of two counts from 1 to 3 can be. On a square map 3 stays empty: a size and rate
# that leave some position one tap per axis leave no position three.
VALID_WEIGHTS = (1, 2, 3, 4, 6, 9)

Counts = dict[int, int]


def closed_form(size: int, rate: int) -> Counts:
    """Positions of a size x size map by their number of valid weights, 1 to 9.

    Along one axis, position i has 1 + [i >= rate] + [i + rate < size] taps inside; the counts of
    the two axes multiply.
    """
    axis = Counter(1 + (i >= rate) + (i + rate < size) for i in range(size))
    counts = dict.fromkeys(VALID_WEIGHTS, 0)
    for vertical, rows in axis.items():
        for horizontal, columns in axis.items():
            counts[vertical * horizontal] += rows * columns
    return counts


def by_convolution(size: int, rate: int) -> Counts:
    """The same counts, from a 3x3 convolution of ones with ones, dilated and padded by rate."""
    import torch  # here, so that reading the closed form stays quick

    ones_NCHW = torch.ones(1, 1, size, size, dtype=torch.float64)
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    valid = torch.nn.functional.conv2d(ones_NCHW, kernel, padding=rate, dilation=rate)
    found = torch.bincount(valid.round().long().flatten(), minlength=10).tolist()
    counts = {weights: found[weights] for weights in VALID_WEIGHTS}
    assert sum(counts.values()) == size * size, found
    return counts


def normalised(counts: Counts) -> dict[int, float]:
    """Counts as fractions of all positions."""
    positions = sum(counts.values())
    return {weights: count / positions for weights, count in counts.items()}
