"""VOC's palette: against the masks of VOC itself, and back from disk."""

import numpy as np
import pytest
from PIL import Image

from replication.data.palette import save_indexed, voc_palette
from replication.errors import RunError


def test_the_colours_of_the_classes_are_the_published_ones():
    """The first 21 entries and void as the VOC 2012 development kit documents them."""
    colours = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        7: (128, 128, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        16: (0, 64, 0),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {index: tuple(colours[index].tolist()) for index in known} == known
    assert len({tuple(colour) for colour in colours.tolist()}) == 256


def test_the_palette_is_that_of_a_real_mask(real_voc):
    for path in sorted((real_voc / "VOC2012" / "SegmentationClass").glob("*.png"))[:5]:
        with Image.open(path) as file:
            assert file.mode == "P" and bytes(file.getpalette() or []) == voc_palette()


def test_a_real_mask_comes_back_as_it_was(real_voc, tmp_path):
    [path, *_] = sorted((real_voc / "VOC2012" / "SegmentationClass").glob("*.png"))
    with Image.open(path) as file:
        values = np.array(file)
    assert len(np.unique(values)) > 1
    save_indexed(values, tmp_path / path.name)
    with Image.open(tmp_path / path.name) as file:
        assert file.mode == "P" and file.size == values.shape[::-1]
        assert np.array_equal(np.array(file), values)
        assert bytes(file.getpalette() or []) == voc_palette()


@pytest.mark.parametrize(
    "mask",
    [
        np.arange(256, dtype=np.uint8).reshape(8, 32),
        np.full((3, 5), 20, np.uint8),
        np.zeros((1, 1), np.uint8),
        np.arange(256, dtype=np.uint8).reshape(8, 32)[::2, ::-3],  # not contiguous
    ],
)
def test_indices_and_palette_come_back(mask, tmp_path):
    """A few values do not make a short palette or another numbering."""
    path = save_indexed(mask, tmp_path / "deep" / "mask.png")
    with Image.open(path) as file:
        assert file.format == "PNG" and file.mode == "P"
        assert np.array_equal(np.array(file), mask)
        assert bytes(file.getpalette() or []) == voc_palette()


def test_what_is_no_mask_is_refused(tmp_path):
    for wrong in (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.int64)):
        with pytest.raises(ValueError, match="uint8"):
            save_indexed(wrong, tmp_path / "mask.png")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        save_indexed(np.zeros((2, 2), np.uint8), tmp_path / "file" / "mask.png")
