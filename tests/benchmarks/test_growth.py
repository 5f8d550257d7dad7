"""Curves: exponents of known powers, and the order in which sizes are measured."""

import pytest

from benchmarks.growth.curves import Curve, as_markdown, measured


def test_the_exponent_of_a_power_is_found():
    sizes = (1.0, 2.0, 4.0, 8.0)
    seconds = tuple((3 * size**1.5,) for size in sizes)
    curve = Curve(what="a power", against="size", sizes=sizes, seconds=seconds)
    assert curve.exponent == pytest.approx(1.5) and curve.last_exponent == pytest.approx(1.5)
    text = "\n".join(as_markdown([curve]))
    assert "| 4 | 24 | 24 to 24 |" in text and "Exponent 1.50 over all sizes" in text
    plain = Curve(what="a power", against="size", sizes=sizes, seconds=seconds, fitted=False)
    assert "Exponent" not in "\n".join(as_markdown([plain]))


def test_a_fixed_cost_shows_in_the_last_sizes():
    sizes = (1.0, 10.0, 100.0, 1000.0)
    seconds = tuple((10 + size,) for size in sizes)
    curve = Curve(what="a start", against="size", sizes=sizes, seconds=seconds)
    assert curve.exponent < 0.7 < 0.9 < curve.last_exponent < 1


def test_sizes_are_measured_in_turn_after_a_warm_up():
    order = []
    runs = {size: lambda size=size: order.append(size) for size in (1, 2)}
    sizes, seconds = measured(runs, 2)
    assert order == [1, 2] * 3 and sizes == (1, 2)
    assert [len(one) for one in seconds] == [2, 2]
