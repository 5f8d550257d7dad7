"""Crops against torch's own resizing: the host's, one by one or together, and a device's."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.v2.functional import pad

from replication.data import crops
from replication.data.batches import Draws, draw, gather, normalise
from replication.data.cache import Decoded
from replication.data.crops import augment, cut, place, sample


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


def by_host(data, draws, crop, padding):
    places = place(torch.from_numpy(data.sizes), draws, crop, padding)
    return cut([(data.image(i), data.mask(i)) for i in range(len(data))], places)


def by_device(data, draws, crop, padding):
    images, masks, sizes = gather(data, range(len(data)))
    return sample(images, masks, place(sizes, draws, crop, padding))


WAYS = {"host": by_host, "device": by_device}
RAGGED = [(40, 30), (25, 50), (33, 33), (64, 20), (31, 47), (50, 50)]
# On the host, pictures of one size are cut together.
SETS = {"ragged": RAGGED, "wide": [(31, 47)] * 6, "high": [(50, 26)] * 6}


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
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", SETS)
def test_crops_equal_resize_pad_crop_flip(sizes, way, crop, padding):
    data = ragged_set(SETS[sizes])
    draws = draw(6, (0.5, 2.0), 0.25, True, iteration=3, seed=1)
    x, labels = WAYS[way](data, draws, crop, padding)
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


@pytest.mark.parametrize("padding", ["bottom-right", "centre"])
@pytest.mark.parametrize("crop", [17, 33, 65])
def test_pictures_of_one_size_are_cut_together_to_the_same_bits(monkeypatch, crop, padding):
    cut_as, ways = [], ("_together", "_one_by_one")
    for way in ways:
        real = getattr(crops, way)
        monkeypatch.setattr(
            crops, way, lambda *of, real=real, way=way: (cut_as.append(way), real(*of))[1]
        )
    data = ragged_set(SETS["wide"])
    for iteration in range(8):
        draws = draw(6, (0.5, 2.0), 0.25, True, iteration=iteration, seed=1)
        together = by_host(data, draws, crop, padding)
        with monkeypatch.context() as patched:
            patched.setattr(crops, "TOGETHER", 6 * 3 * 31 * 47 - 1)
            alone = by_host(data, draws, crop, padding)
        for one, other in zip(together, alone, strict=True):
            assert one.stride() == other.stride()
            assert one.numpy().tobytes() == other.numpy().tobytes()
    assert cut_as == [*ways] * 8


@pytest.mark.parametrize("way", WAYS)
def test_padding_is_the_mean_pixel_and_void(way):
    data = ragged_set([(10, 12)])
    draws = Draws(scales=np.ones(1), flips=np.zeros(1, bool), offsets=np.zeros((1, 2)))
    x, labels = WAYS[way](data, draws, 17, "bottom-right")
    assert (x[0, :, 10:] == 0).all() and (x[0, :, :, 12:] == 0).all()
    assert (labels[0, 10:] == 255).all() and (labels[0, :, 12:] == 255).all()
    assert (labels[0, :10, :12] == torch.from_numpy(data.mask(0))).all()


@pytest.mark.parametrize("way", WAYS)
def test_centred_padding_by_hand(way):
    """10 x 12 in a crop of 17: 7 and 5 lacking, 3 and 2 of them before the picture."""
    data = ragged_set([(10, 12)])
    for flip in (False, True):
        draws = Draws(scales=np.ones(1), flips=np.array([flip]), offsets=np.full((1, 2), 0.99))
        x, labels = WAYS[way](data, draws, 17, "centre")
        x, labels = (x.flip(3), labels.flip(2)) if flip else (x, labels)
        expected = np.full((17, 17), 255)
        expected[3:13, 2:14] = data.mask(0)
        assert labels[0].numpy().tolist() == expected.tolist()
        inside = torch.from_numpy(expected != 255)
        assert (x[0][:, ~inside] == 0).all()
        picture = normalise(torch.from_numpy(data.image(0).copy())[None])[0]
        assert torch.allclose(x[0, :, 3:13, 2:14], picture, atol=1e-5)


def test_augment_on_the_host_is_its_own_way():
    data = ragged_set([(40, 30), (25, 50)])
    draws = draw(2, (0.5, 2.0), 0.25, True, iteration=0, seed=0)
    for one, other in zip(
        augment(*gather(data, range(2)), draws, 33),
        by_host(data, draws, 33, "bottom-right"),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_what_lies_beyond_a_picture_is_never_read():
    """Stacked, the first picture has rows and columns of zeros beyond it; alone, it has none."""
    data = ragged_set([(20, 20), (40, 40)])
    draws = draw(2, (0.5, 2.0), 0.25, True, iteration=1, seed=0)
    together, _ = augment(*gather(data, [0, 1]), draws, 33)
    alone, _ = augment(*gather(ragged_set([(20, 20)]), [0]), first(draws), 33)
    assert torch.equal(together[0], alone[0])


def first(draws):
    return Draws(scales=draws.scales[:1], flips=draws.flips[:1], offsets=draws.offsets[:1])


def test_crops_lie_in_channels_last_memory():
    data = ragged_set([(40, 30), (25, 50)])
    draws = draw(2, (0.5, 2.0), 0.25, True, iteration=0, seed=0)
    x, labels = by_host(data, draws, 17, "bottom-right")
    assert x.is_contiguous(memory_format=torch.channels_last) and labels.dtype == torch.int64
