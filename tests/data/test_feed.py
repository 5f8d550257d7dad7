"""Batches read ahead, or gathered from a device's memory: the bits of those read as asked for."""

import threading

import numpy as np
import pytest
import torch

from replication.data.batches import draw, gather, order
from replication.data.crops import augment, place, sample
from replication.data.feed import Ahead, Feed, Resident, resident
from tests.conftest import small_stage
from tests.data.test_crops import ragged_set

CPU = torch.device("cpu")
DATA = ragged_set([(40, 30), (33, 33), (25, 50), (48, 33), (33, 40), (30, 30)])
STAGE = small_stage(scale_range=(0.5, 2.0), duplicate=("a",), padding="centre")


def expected(iteration):
    """Straight from the parts: which pictures, and the numbers of their crops."""
    images = [*range(len(DATA)), *DATA.with_any(["a"])]
    chosen = [images[i] for i in order(len(images), 4, iteration, 7)]
    return gather(DATA, chosen), draw(4, (0.5, 2.0), 0.25, True, iteration=iteration, seed=7)


def reader(way):
    made = Feed(DATA, STAGE, seed=7, device=CPU)
    if way == "resident":
        made._resident = Resident(DATA, CPU)
    return Ahead(made._read, STAGE.iterations, CPU) if way == "ahead" else made._read


@pytest.mark.parametrize("way", ["read", "ahead", "resident"])
@pytest.mark.parametrize("first", [0, 3])
def test_every_way_to_a_device_gives_the_same_bits(way, first):
    read = reader(way)
    for iteration in range(first, STAGE.iterations):
        found = read(iteration)
        (images, masks, sizes), draws = expected(iteration)
        assert torch.equal(found.images, images) and torch.equal(found.masks, masks)
        for one, other in zip(
            sample(found.images, found.masks, found.places),
            sample(images, masks, place(sizes, draws, 33, "centre")),
            strict=True,
        ):
            assert torch.equal(one, other)
    if way == "ahead":
        read.close()


def test_on_the_host_a_feed_is_what_augment_makes():
    with Feed(DATA, STAGE, seed=7, device=CPU) as made:
        for iteration in (0, 3, 5):
            pictures, draws = expected(iteration)
            for one, other in zip(
                made(iteration), augment(*pictures, draws, 33, padding="centre"), strict=True
            ):
                assert torch.equal(one, other)


def test_the_next_batch_is_read_while_this_one_is_used():
    read, second = [], threading.Event()

    def reader(iteration):
        read.append((iteration, threading.current_thread() is threading.main_thread()))
        if iteration == 1:
            second.set()
        return iteration

    ahead = Ahead(reader, 2, CPU)
    assert ahead(0) == 0
    assert second.wait(10), "read before it is asked for"
    assert ahead(1) == 1
    ahead.close()
    assert read == [(0, False), (1, False)], "each once, and none beyond the last"


def test_what_a_reader_raises_is_raised_where_its_batch_is_asked_for():
    def reader(iteration):
        if iteration == 1:
            raise OSError("gone")
        return iteration

    ahead = Ahead(reader, 5, CPU)
    assert ahead(0) == 0
    with pytest.raises(OSError, match="gone"):
        ahead(1)
    ahead.close()


def test_a_residents_pictures_are_gathers():
    for batch in ([0, 1, 2], [5], [3, 3, 4]):
        images, masks, _ = gather(DATA, batch)
        found, its_masks = Resident(DATA, CPU).gather(np.array(batch))
        assert torch.equal(found, images) and torch.equal(its_masks, masks)


def test_nothing_is_copied_to_where_it_is():
    assert resident(DATA, CPU) is None
