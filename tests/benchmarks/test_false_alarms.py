"""What a false verdict is, by hand, and that the simulation finds a judge that gives too many."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import false_alarms
from benchmarks.false_alarms import (
    DEVIATION,
    NULLS,
    PAPER,
    alarm,
    alarms,
    cells_of,
    judged,
    one_pair,
    ranks,
)
from replication import claims
from replication.spec import Claim, load_tables

(TABLE_3,) = load_tables(PAPER, [3])
(TABLE_9,) = load_tables(PAPER, [9])
TWO = (("a", "b"), ("b", "c"))


def claim(mode="all", within=None):
    kinds = {"all": "order", "mean": "greater", "similar": "similar", "no worse": "no_worse"}
    return Claim(
        says="A sentence.", where="here", kind=kinds[mode], mode=mode, pairs=TWO, within=within
    )


@pytest.mark.parametrize(
    ("of", "means", "supported", "contradicted"),
    [
        # Means of a, b, c; whether "supported" is false, and "contradicted".
        (claim(), (3, 2, 1), False, True),
        (claim(), (2, 2, 1), True, True),  # nothing is violated, and not all is met
        (claim(), (1, 2, 1), True, False),
        (claim("mean"), (3, 1, 2), False, True),
        (claim("mean"), (2, 1, 2), True, True),
        (claim("mean"), (1, 3, 2), True, False),
        (claim("similar", within=1.5), (2, 1, 1), False, True),
        (claim("similar", within=1.5), (3, 1, 1), True, False),
        (claim("similar", within=1.5), (0, 2, 2), True, False),
        (claim("no worse", within=1.5), (1, 2, 2), False, True),
        (claim("no worse", within=1.5), (9, 2, 2), False, True),
        (claim("no worse", within=1.5), (0, 2, 2), True, False),
    ],
)
def test_a_verdict_is_false_by_the_true_differences(of, means, supported, contradicted):
    true = dict(zip("abc", map(float, means), strict=True))
    assert alarm(of, "supported", true) == supported
    assert alarm(of, "contradicted", true) == contradicted
    assert not alarm(of, "undecided", true)


def test_one_pair_of_neighbours_is_equal_and_every_pair_in_time():
    generator, place = np.random.default_rng(0), ranks(TABLE_3)
    assert sorted(place) == list(range(len(cells_of(TABLE_3))))
    seen = set()
    for _ in range(400):
        ordered = one_pair(generator, TABLE_3)[np.argsort(place)]
        steps = np.diff(ordered)
        (equal,) = np.flatnonzero(steps == 0)
        assert np.all(np.delete(steps, equal) >= 20 * DEVIATION - 1e-9)
        seen.add(int(equal))
    assert seen == set(range(len(place) - 1))


def test_the_second_null_sees_what_the_first_does_not(monkeypatch):
    """An order of four cells, by a judge at 40 %, half of it to support: four equal cells hardly
    ever come in that order, an equal pair does at the judge's own rate.
    """
    (order,) = [one for one in TABLE_9.claims if one.kind == "order"]
    table = replace(TABLE_9, claims=(order,))
    monkeypatch.setattr(claims, "ALPHA", 0.4)
    monkeypatch.setattr(
        false_alarms, "alarm", lambda of, said, true: said == "supported" and alarm(of, said, true)
    )
    by_name = {null.name: alarms(table, 5, 200, null) for null in NULLS}
    assert by_name["apart"] < 0.05
    assert by_name["a pair"] == pytest.approx(0.2, abs=0.09)


def test_a_pair_is_no_alarm_more_often_than_it_may():
    """250 tables at 5 %: more than 24 of them have a chance of one in a thousand."""
    assert alarms(TABLE_9, 3, 250, NULLS[-1]) <= 24 / 250


def test_far_cells_in_the_published_order_are_supported():
    height = false_alarms.FAR * DEVIATION * ranks(TABLE_9)[:, None]
    noise = DEVIATION * np.random.default_rng(0).standard_normal((len(height), 5))
    assert {one.verdict for one in judged(TABLE_9, height + noise, shared=False)} == {"supported"}
