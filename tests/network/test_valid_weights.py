"""Valid weights: Figure 4's numbers, and the closed form against the convolution."""

import pytest

from replication.network.valid_weights import (
    VALID_WEIGHTS,
    by_convolution,
    closed_form,
    normalised,
)

# A 3x3 filter on a 65x65 map: fractions of positions with 9, 6, 4, 2 and 1 valid weights.
FIGURE_4 = {
    1: (0.939, 0.060, 0.001, 0, 0),
    6: (0.665, 0.301, 0.034, 0, 0),
    12: (0.398, 0.466, 0.136, 0, 0),
    18: (0.199, 0.494, 0.307, 0, 0),
    24: (0.068, 0.386, 0.545, 0, 0),
    36: (0, 0, 0.796, 0.192, 0.012),
    48: (0, 0, 0.274, 0.499, 0.227),
    64: (0, 0, 0.001, 0.060, 0.939),
    65: (0, 0, 0, 0, 1),
    100: (0, 0, 0, 0, 1),
}


@pytest.mark.parametrize("rate", FIGURE_4)
@pytest.mark.parametrize("count", [closed_form, by_convolution])
def test_figure_4(rate, count):
    fractions = normalised(count(65, rate))
    nine, six, four, two, one = FIGURE_4[rate]
    expected = {1: one, 2: two, 3: 0, 4: four, 6: six, 9: nine}
    assert {weights: round(value, 3) for weights, value in fractions.items()} == expected


def test_by_hand_on_a_3x3_map():
    # Rate 1: corners see 4 taps, edges 6, the centre 9. Rate 2: the middle row and column lose
    # both their neighbours: 4 corners of 2 x 2, 4 edges of 1 x 2, the centre 1.
    assert closed_form(3, 1) == {1: 0, 2: 0, 3: 0, 4: 4, 6: 4, 9: 1}
    assert closed_form(3, 2) == {1: 1, 2: 4, 3: 0, 4: 4, 6: 0, 9: 0}


@pytest.mark.parametrize("size", [1, 2, 7, 8, 33, 64])
def test_the_closed_form_is_the_convolution_exactly(size):
    for rate in (*range(1, 12), size - 1, size, size + 1, 2 * size + 3):
        if rate < 1:
            continue
        expected = closed_form(size, rate)
        assert expected == by_convolution(size, rate), rate
        assert tuple(expected) == VALID_WEIGHTS
        assert sum(expected.values()) == size * size
