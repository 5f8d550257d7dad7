"""Augmentation against torch's own resizing, and draws that depend on nothing but their seed."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.v2.functional import pad

from replication.data.batches import Draws, augment, draw, gather, normalise, order
from replication.data.cache import Decoded


def ragged_set(sizes, seed=0):
    random = np.random.default_rng(seed)
    counts = [h * w for h, w in sizes]
    return Decoded(
        split="val",
        ids=tuple(map(str, range(len(sizes)))),
        classes=("background", "a", "b"),
        sizes=np.array(sizes, dtype=np.int64),
        offsets=np.cumsum([0, *counts[:-1]]),
        pixels=random.integers(0, 256, (sum(counts), 3), dtype=np.uint8),
        labels=random.integers(0, 3, sum(counts), dtype=np.uint8),
    )


def reference(image, mask, scale, flip, offset, crop, padding):
    """Resize, pad, crop, flip, one after the other, with torch's own operations."""
    h, w = mask.shape
    size = (int(h * scale), int(w * scale))
    x = F.interpolate(normalise(image[None]), size=size, mode="bilinear", align_corners=False)
    y = F.interpolate(mask[None, None].float(), size=size, mode="nearest-exact")
    lacking = [max(0, crop - side) for side in size]
    top, left = (one // 2 if padding == "centre" else 0 for one in lacking)
    around = [left, top, lacking[1] - left, lacking[0] - top]  # as torchvision takes it
    x, y = pad(x, around), pad(y, around, fill=255)
    top, left = (
        int(share * (max(0, side - crop) + 1)) for share, side in zip(offset, size, strict=True)
    )
    x, y = (t[:, :, top : top + crop, left : left + crop] for t in (x, y))
    return (x.flip(3), y.flip(3)) if flip else (x, y)


@pytest.mark.parametrize("padding", ["bottom-right", "centre"])
@pytest.mark.parametrize("crop", [17, 33, 65])
def test_augment_equals_resize_pad_crop_flip(crop, padding):
    data = ragged_set([(40, 30), (25, 50), (33, 33), (64, 20), (31, 47), (50, 50)])
    images, masks, sizes = gather(data, range(6))
    draws = draw(6, (0.5, 2.0), 0.25, True, iteration=3, seed=1)
    x, labels = augment(images, masks, sizes, draws, crop, padding=padding)
    assert x.shape == (6, 3, crop, crop) and labels.shape == (6, crop, crop)
    for i in range(6):
        expected, expected_labels = reference(
            torch.from_numpy(data.image(i)),
            torch.from_numpy(data.mask(i)),
            draws.scales[i],
            draws.flips[i],
            draws.offsets[i],
            crop,
            padding,
        )
        assert (x[i] - expected[0]).abs().max() < 1e-4
        assert torch.equal(labels[i], expected_labels[0, 0].long())


def test_padding_is_the_mean_pixel_and_void():
    data = ragged_set([(10, 12)])
    draws = Draws(scales=np.ones(1), flips=np.zeros(1, bool), offsets=np.zeros((1, 2)))
    x, labels = augment(*gather(data, [0]), draws, 17)
    assert (x[0, :, 10:] == 0).all() and (x[0, :, :, 12:] == 0).all()
    assert (labels[0, 10:] == 255).all() and (labels[0, :, 12:] == 255).all()
    assert (labels[0, :10, :12] == torch.from_numpy(data.mask(0))).all()


def test_centred_padding_by_hand():
    """10 x 12 in a crop of 17: 7 and 5 lacking, 3 and 2 of them before the picture."""
    data = ragged_set([(10, 12)])
    for flip in (False, True):
        draws = Draws(scales=np.ones(1), flips=np.array([flip]), offsets=np.full((1, 2), 0.99))
        x, labels = augment(*gather(data, [0]), draws, 17, padding="centre")
        x, labels = (x.flip(3), labels.flip(2)) if flip else (x, labels)
        expected = np.full((17, 17), 255)
        expected[3:13, 2:14] = data.mask(0)
        assert labels[0].numpy().tolist() == expected.tolist()
        inside = torch.from_numpy(expected != 255)
        assert (x[0][:, ~inside] == 0).all()
        picture = normalise(torch.from_numpy(data.image(0).copy())[None])[0]
        assert torch.allclose(x[0, :, 3:13, 2:14], picture, atol=1e-5)


def test_every_image_once_an_epoch():
    seen = np.concatenate([order(10, 4, iteration, seed=5) for iteration in range(5)])
    assert sorted(seen[:10]) == list(range(10)) and sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])


def test_draws_depend_on_seed_and_iteration_alone():
    def scales(**where):
        return draw(64, (0.5, 2.0), 0.25, True, **where).scales.tolist()

    assert scales(iteration=4, seed=0) == scales(iteration=4, seed=0)
    assert scales(iteration=4, seed=0) != scales(iteration=5, seed=0)
    assert scales(iteration=4, seed=0) != scales(iteration=4, seed=1)


def test_scale_step_zero_is_continuous_and_flip_can_be_off():
    stepped = draw(500, (0.5, 2.0), 0.25, True, iteration=0, seed=0)
    assert set(stepped.scales) == {0.5 + 0.25 * k for k in range(7)}
    assert 0.4 < stepped.flips.mean() < 0.6
    free = draw(500, (0.5, 2.0), 0.0, False, iteration=0, seed=0)
    assert len(set(free.scales)) == 500 and free.scales.min() >= 0.5 and free.scales.max() <= 2.0
    assert not free.flips.any()
