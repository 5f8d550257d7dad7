"""The panel: exact class colours, hatched void, a legend, a small file."""

import numpy as np
import pytest
from PIL import Image

from replication.data.layouts import VOC_CLASSES
from replication.data.palette import voc_palette
from replication.errors import RunError
from replication.render.panel import GAP, HEADING, LARGEST_FILE, MARGIN, WIDTH, Row, colour, panel

COLOURS = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)


def noise_row(size=(150, 220), seed=0):
    """Noise compresses worst; the masks have four quarters: background, person, cow and void."""
    random = np.random.default_rng(seed)
    truth = np.zeros(size, np.uint8)
    h, w = size[0] // 2, size[1] // 2
    truth[:h, w:], truth[h:, :w], truth[h:, w:] = 15, 10, 255
    prediction = np.where(truth == 255, 0, truth).astype(np.uint8)
    photograph = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    return Row(photograph=photograph, truth=truth, prediction=prediction)


def drawn(rows, path):
    panel(rows, VOC_CLASSES, path)
    with Image.open(path) as file:
        assert file.format == "PNG" and file.mode == "P"
        return np.array(file.convert("RGB"))


def column(pixels, number, height=150):
    left = MARGIN + number * (WIDTH + GAP)
    return pixels[HEADING : HEADING + height, left : left + WIDTH]


def test_classes_keep_their_exact_colours(tmp_path):
    pixels = drawn([noise_row()], tmp_path / "panel.png")
    truth, prediction = column(pixels, 1), column(pixels, 2)
    for shown in (truth, prediction):
        assert (shown[:75, :110] == COLOURS[0]).all()
        assert (shown[:75, 110:] == COLOURS[15]).all()
        assert (shown[75:, :110] == COLOURS[10]).all()
    assert (prediction[75:, 110:] == COLOURS[0]).all()
    void = truth[75:, 110:].reshape(-1, 3)
    assert {tuple(c) for c in void.tolist()} == {(255, 255, 255), (176, 176, 176)}


def test_the_photograph_is_where_it_belongs(tmp_path):
    row = noise_row()
    flat = Row(
        photograph=np.full_like(row.photograph, 90), truth=row.truth, prediction=row.prediction
    )
    shown = column(drawn([flat], tmp_path / "panel.png"), 0)
    assert np.abs(shown.astype(int) - 90).max() <= 4


def test_the_legend_names_what_occurs_and_nothing_else(tmp_path):
    """Below the pictures stand the swatches of what occurs; grey is also the text's, so no cars."""
    below = drawn([noise_row()], tmp_path / "panel.png")[HEADING + 150 + GAP :]
    tints = {tuple(colour) for colour in below.reshape(-1, 3).tolist()}
    for index in set(range(1, 21)) - {7}:
        assert (tuple(COLOURS[index].tolist()) in tints) == (index in (10, 15))


def test_portraits_and_landscapes_share_columns(tmp_path):
    pixels = drawn([noise_row((500, 334)), noise_row((333, 500), 1)], tmp_path / "panel.png")
    assert pixels.shape[1] == 2 * MARGIN + 3 * WIDTH + 2 * GAP
    # The portrait is centred: white beside it.
    assert (column(pixels, 0, 196)[:, :30] == 255).all()


def test_even_noise_is_a_small_file(tmp_path):
    rows = [noise_row((375, 500), seed) for seed in range(6)]
    drawn(rows, tmp_path / "panel.png")
    assert (tmp_path / "panel.png").stat().st_size <= LARGEST_FILE


def test_a_panel_is_the_same_bytes_twice(tmp_path):
    first, second = (panel([noise_row()], VOC_CLASSES, tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_colour_leaves_the_mask_alone():
    mask = np.array([[0, 20, 255]], np.uint8)
    assert colour(mask)[0, :2].tolist() == [[0, 0, 0], [0, 64, 128]]
    assert mask.tolist() == [[0, 20, 255]]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        panel([noise_row()], VOC_CLASSES, tmp_path / "file" / "panel.png")
