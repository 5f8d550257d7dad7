"""Input, ours and a DataLoader's: other pictures at each repetition, the same ones every time."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.speed import pictures
from benchmarks.speed.pictures import compare, our_batches, passes, their_batches
from replication.data.batches import Draws
from replication.data.crops import place
from tests.data.test_crops import ragged_set

DATA = ragged_set([(40, 30), (33, 33), (25, 50), (48, 33)])


@pytest.fixture
def files(tmp_path):
    for i in range(len(DATA)):
        Image.fromarray(np.array(DATA.image(i))).save(tmp_path / f"{i}.jpg")
        Image.fromarray(np.array(DATA.mask(i))).save(tmp_path / f"{i}.png")
    return [(tmp_path / f"{i}.jpg", tmp_path / f"{i}.png") for i in range(len(DATA))]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(pictures, "BATCH", 2)
    monkeypatch.setattr(pictures, "BATCHES", 2)


def four(run):
    return [run() for _ in range(4)]


@pytest.mark.parametrize("decoded", [False, True])
def test_each_of_their_repetitions_goes_on_and_each_run_does_the_same(files, decoded, monkeypatch):
    sizes, found = [], []
    resize = pictures.v2.functional.resize

    def resized(image, size, *more, **options):
        sizes.append(tuple(size))
        return resize(image, size, *more, **options)

    monkeypatch.setattr(pictures.v2.functional, "resize", resized)
    with torch.random.fork_rng(devices=()):
        for seed in (1, 2):
            torch.manual_seed(seed)
            four(their_batches(files, 33, decoded=decoded))
            found.append(tuple(sizes))
            sizes.clear()
    assert found[0] == found[1]
    # Four pictures and masks a repetition; every one draws its own scales.
    assert len(found[0]) == 32 and len({found[0][i : i + 8] for i in range(0, 32, 8)}) == 4


def test_each_of_our_repetitions_goes_on_and_each_run_does_the_same(monkeypatch):
    found = []
    monkeypatch.setattr(pictures, "cut", lambda chosen, places: found.append(places.y))
    four(our_batches(DATA, 33))
    first, found[:] = list(found), []
    four(our_batches(DATA, 33))
    assert len(first) == 8 and all(map(torch.equal, first, found))
    assert not any(torch.equal(first[0], other) for other in first[1:])


def test_bytes_of_the_passes_by_hand():
    """A picture of 4 x 6 at scale 1, whole in a crop of 6: 4 rows, 6 columns, the rest padding."""
    draws = Draws(scales=np.ones(1), flips=np.zeros(1, bool), offsets=np.zeros((1, 2)))
    pixels = 24 * (3 * (5 + 16 + 8 + 12 + 16 + 12) + 2 + 2 + 9)
    assert passes(place(torch.tensor([[4, 6]]), draws, 6, "bottom-right")) == pixels + 36 * 20
    # At scale 2, its 4 rows and 4 of its 6 columns make a crop of 6, at the top left corner.
    draws = Draws(scales=np.full(1, 2.0), flips=np.zeros(1, bool), offsets=np.zeros((1, 2)))
    across = 3 * (4 * 4 * 5 + 4 * 6 * 36) + 3 * 36 * 28 + 6 * 4 * 2 + 36 * 11
    assert passes(place(torch.tensor([[4, 6]]), draws, 6, "bottom-right")) == across


def test_rows_and_their_aims(monkeypatch):
    """The generated set has no aim; every row says what ours could reach at most."""
    monkeypatch.setattr(pictures, "copies", lambda: 10e9)
    [from_files, decoded] = compare(1, None)
    assert [one.aim for one in (from_files, decoded)] == ["none", "none"]
    assert "from files" in from_files.theirs_is and "decoded in memory" in decoded.theirs_is
    assert "MB an image" in decoded.note and "(10.0 GB/s)" in decoded.note
