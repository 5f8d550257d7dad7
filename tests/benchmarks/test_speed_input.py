"""Input, ours and a DataLoader's: other pictures at each repetition, the same ones every time."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.speed import pictures
from benchmarks.speed.pictures import Given, compare
from tests.data.test_crops import ragged_set


@pytest.fixture
def given(tmp_path):
    data = ragged_set([(40, 30), (33, 33), (25, 50), (48, 33)])
    files = []
    for i in range(len(data)):
        files.append((tmp_path / f"{i}.jpg", tmp_path / f"{i}.png"))
        Image.fromarray(np.array(data.image(i))).save(files[-1][0])
        Image.fromarray(np.array(data.mask(i))).save(files[-1][1])
    return Given(data=data, files=files, what="noise", crops=(33,), aim=5.0)


def test_each_repetition_goes_on_and_each_run_does_the_same(given, monkeypatch):
    monkeypatch.setattr(pictures, "BATCH", 2)
    monkeypatch.setattr(pictures, "BATCHES", 2)
    starts, sizes = [], []
    resize = pictures.v2.functional.resize

    def resized(image, size, *more, **options):
        sizes.append(tuple(size))
        return resize(image, size, *more, **options)

    monkeypatch.setattr(pictures, "our_batches", lambda data, crop, start: starts.append(start))
    monkeypatch.setattr(pictures.v2.functional, "resize", resized)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        rows = list(compare(3, given))
        found.append((tuple(starts), tuple(sizes)))
        starts.clear(), sizes.clear()
    assert found[0] == found[1]
    # A warm-up and three repetitions, of a set from files and of one in memory.
    assert found[0][0] == (0, 2, 4, 6) * 2
    half = found[0][1][: len(found[0][1]) // 2]
    # Four pictures and masks a repetition; every one draws its own scales.
    assert len(half) == 32 and len({half[i : i + 8] for i in range(0, 32, 8)}) == 4
    assert [(one.aim, one.verdict != "") for one in rows] == [("5 times", True), ("none", False)]
