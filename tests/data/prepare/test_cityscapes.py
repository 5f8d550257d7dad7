"""Cityscapes from official-layout zip files and folders; the official label table and tools."""

import resource
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cityscapes_samples import (
    COARSE,
    EXTRA,
    FINE,
    FRAMES,
    IMAGES,
    SIZE,
    label_ids,
    png,
    small_parts,
    unpacked,
    write_zip,
)
from cityscapesscripts.helpers import labels as official
from PIL import Image
from rich.console import Console

from data_scripts import cityscapes as script
from replication.data import cache, layouts
from replication.data.prepare import cityscapes

REPOSITORY = Path(__file__).resolve().parents[3]
QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def few_frames(monkeypatch):
    """The official numbers are those of thousands of frames; here they are FRAMES'."""
    monkeypatch.setattr(cityscapes, "PARTS", small_parts())


def read(path):
    with Image.open(path) as file:
        assert file.mode == "L"
        return np.array(file)


def expected_train_ids(frame):
    by_hand = [official.id2label[value].trainId for value in label_ids(frame).ravel()]
    return np.array(by_hand, dtype=np.uint8).reshape(SIZE[::-1])


def run(root, *archives, ids=None):
    arguments = ["--root", str(root)]
    for archive in archives:
        arguments += ["--archive", str(archive)]
    return script.main(arguments + (["--ids", str(ids)] if ids else []))


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def lines(capsys):
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("options", [{}, {"compression": zipfile.ZIP_DEFLATED}])
def test_zips_become_a_set_that_is_read(tmp_path, capsys, options):
    names = (IMAGES, FINE, EXTRA, COARSE)
    archives = [write_zip(tmp_path / "zips", name, **options) for name in names]
    assert run(tmp_path / "data", *archives) == 0
    home = tmp_path / "data/cityscapes"
    out = capsys.readouterr().out
    assert "leftImg8bit/train        3 of 3" in out and "gtCoarse/train_extra     2 of 2" in out
    assert f"--data cityscapes={home}" in out
    for split, frames in [
        ("train", sorted(FRAMES["train"])),
        (
            "trainval+train_extra",
            [*sorted(FRAMES["train"]), *FRAMES["val"], *FRAMES["train_extra"]],
        ),
    ]:
        data = cache.decode(layouts.listing("cityscapes", home, split), tmp_path / "cache")
        assert list(data.ids) == frames
        for i, frame in enumerate(frames):
            assert np.array_equal(data.mask(i), expected_train_ids(frame))
    assert len(list(home.glob("leftImg8bit/test/*/*.png"))) == 1
    assert not (home / "gtFine/test").exists(), "dummies are not unpacked"
    assert not list(home.rglob("*partial"))


def test_run_again_it_verifies_and_changes_nothing(tmp_path, capsys):
    archives = [write_zip(tmp_path / "zips", name) for name in (IMAGES, FINE)]
    assert run(tmp_path / "data", *archives) == 0
    before = stamps(tmp_path / "data/cityscapes")
    assert "no coarse annotations" in capsys.readouterr().out
    assert run(tmp_path / "data", *archives) == 0
    assert "verified, nothing was left to do" in capsys.readouterr().out
    assert run(tmp_path / "data") == 0
    assert stamps(tmp_path / "data/cityscapes") == before


def test_an_unpacked_folder_is_converted_in_place(tmp_path, capsys):
    root = unpacked(tmp_path / "mine", IMAGES, FINE)
    before = stamps(root)
    assert run(root) == 0
    assert f"--data cityscapes={root}" in capsys.readouterr().out
    after = stamps(root)
    assert {path: after[path] for path in before} == before
    made = {path.name for path in after.keys() - before.keys() if path.suffix == ".png"}
    assert made == {
        f"{frame}_gtFine_labelTrainIds.png" for split in ("train", "val") for frame in FRAMES[split]
    }


def test_only_what_is_missing_is_converted(tmp_path):
    root = unpacked(tmp_path, IMAGES, FINE)
    assert run(root) == 0
    before = stamps(root)
    lost = root / "gtFine/val/munster/munster_000000_000019_gtFine_labelTrainIds.png"
    lost.unlink()
    assert run(root) == 0
    after = stamps(root)
    assert {path for path in after if after[path] != before.get(path)} <= {
        lost,
        root / ".cityscapes.lock",
    }
    assert lost.exists()


def test_many_masks_are_converted_by_several_processes(tmp_path):
    city = tmp_path / "gtFine/train/aachen"
    city.mkdir(parents=True)
    frames = [f"aachen_{number:06d}_000019" for number in range(70)]
    for frame in frames:
        (city / f"{frame}_gtFine_labelIds.png").write_bytes(png(label_ids(frame)))
    assert cityscapes.convert(tmp_path / "gtFine/train", QUIET) == 70
    for frame in frames:
        made = read(city / f"{frame}_gtFine_labelTrainIds.png")
        assert np.array_equal(made, expected_train_ids(frame))


@pytest.mark.parametrize("from_zip", [True, False])
def test_ids_make_a_smaller_set(tmp_path, capsys, from_zip):
    ids = tmp_path / "ids.txt"
    ids.write_text("bochum_000000_000313\n\nmunster_000000_000019_leftImg8bit.png\n")
    sources = (
        [write_zip(tmp_path / "zips", name) for name in (IMAGES, FINE)]
        if from_zip
        else [unpacked(tmp_path / "full", IMAGES, FINE)]
    )
    assert run(tmp_path / "small", *sources, ids=ids) == 0
    assert "of the list        2 of 2" in capsys.readouterr().out
    home = tmp_path / "small/cityscapes"
    data = cache.decode(layouts.listing("cityscapes", home, "trainval"), tmp_path / "cache")
    assert data.ids == ("bochum_000000_000313", "munster_000000_000019")
    assert np.array_equal(data.mask(1), expected_train_ids(data.ids[1]))
    # Without the list it is not the full set, and with another list it is too much.
    assert run(tmp_path / "small") == 1
    assert "1 of 3  WRONG" in capsys.readouterr().out
    ids.write_text("munster_000000_000019\n")
    assert run(tmp_path / "small", ids=ids) == 1
    assert "holds 1 frame (bochum_000000_000313) beyond the list" in capsys.readouterr().err


def test_an_unknown_id_is_refused_before_anything_is_written(tmp_path, capsys):
    ids = tmp_path / "ids.txt"
    ids.write_text("bochum_000000_000313\nbochum_000000_000314\n")
    assert run(tmp_path / "small", write_zip(tmp_path, IMAGES), ids=ids) == 2
    assert lines(capsys) == [f"{ids}: bochum_000000_000314 is not in the archives"]
    assert not (tmp_path / "small").exists()


# What can be wrong.


def test_without_data_it_says_where_to_get_which_zip(tmp_path, capsys):
    assert run(tmp_path / "data") == 2
    (line,) = lines(capsys)
    for part in (IMAGES, FINE, EXTRA, COARSE, "https://www.cityscapes-dataset.com", "--archive"):
        assert part in line
    assert not (tmp_path / "data").exists()


BAD_MASKS = {
    "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png": (
        png(np.full(SIZE[::-1], 34, np.uint8)),
        "value 34 is not a label id; allowed are 0 to 33",
    ),
    "gtFine/train/bochum/bochum_000000_000313_gtFine_labelIds.png": (
        png(np.zeros((*SIZE[::-1], 3), np.uint8)),
        "mode RGB; a mask must be a grey PNG of 8 bits",
    ),
    "gtFine/train/aachen/aachen_000001_000019_gtFine_labelIds.png": (
        png(label_ids("any"))[:70],
        "cannot be read",
    ),
}


def test_bad_masks_are_all_named_and_nothing_is_put_in_place(tmp_path, capsys):
    changes = {name: content for name, (content, _) in BAD_MASKS.items()}
    assert run(tmp_path / "data", write_zip(tmp_path, FINE, changes)) == 2
    found = lines(capsys)
    assert len(found) == 3
    for name, (_, problem) in BAD_MASKS.items():
        assert any(Path(name).name in line and problem in line for line in found)
    assert not list((tmp_path / "data/cityscapes").iterdir())


def test_a_full_disk_while_converting_leaves_nothing_that_looks_whole(
    tmp_path, capsys, monkeypatch
):
    archive = write_zip(tmp_path, FINE)

    def no_space(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cityscapes.os, "replace", no_space)
        assert run(tmp_path / "data", archive) == 2
    (line,) = lines(capsys)
    assert "labelTrainIds.png: cannot be written (No space left on device)" in line
    assert not list((tmp_path / "data/cityscapes").iterdir())
    assert run(tmp_path / "data", archive, write_zip(tmp_path, IMAGES)) == 0


def test_a_disk_that_takes_no_more_while_unpacking_is_one_line(tmp_path):
    """A real failing write: the script may not make files beyond 1,000 bytes."""
    finished = subprocess.run(
        [
            sys.executable, REPOSITORY / "data_scripts/cityscapes.py", "--root", tmp_path / "data",
            "--archive", write_zip(tmp_path, IMAGES),
        ],
        capture_output=True, text=True, cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )  # fmt: skip
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1 and "too large" in finished.stderr
    assert not list((tmp_path / "data/cityscapes").iterdir())


def test_what_a_kill_left_is_made_anew(tmp_path):
    archives = [write_zip(tmp_path, name) for name in (IMAGES, FINE)]
    left = tmp_path / "data/cityscapes/gtFine.partial/gtFine/train/aachen"
    left.mkdir(parents=True)
    (left / "stray_000000_000000_gtFine_labelTrainIds.png").write_bytes(b"half")
    assert run(tmp_path / "data", *archives) == 0
    assert not list((tmp_path / "data").rglob("stray*"))


def test_killed_in_the_middle_nothing_looks_whole_and_it_is_made_again(tmp_path):
    frames = [f"aachen_{number:06d}_000020" for number in range(600)]
    masks = {f"gtFine/train/aachen/{f}_gtFine_labelIds.png": png(label_ids(f)) for f in frames}
    archive, home = write_zip(tmp_path, FINE, masks), tmp_path / "data/cityscapes"
    script_file = REPOSITORY / "data_scripts/cityscapes.py"
    running = subprocess.Popen(
        [sys.executable, script_file, "--root", tmp_path / "data", "--archive", archive],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not list(home.glob("gtFine.partial/**/*_labelTrainIds.png")):
            assert running.poll() is None, "ended before it could be killed"
            time.sleep(0.002)
    finally:
        running.kill()
        running.wait()
    assert [path.name for path in home.iterdir()] == ["gtFine.partial"]
    run(tmp_path / "data", archive)
    assert [path.name for path in home.iterdir()] == ["gtFine"]
    assert len(list(home.glob("gtFine/train/aachen/*_labelTrainIds.png"))) == 602


def test_a_member_outside_the_target_is_refused(tmp_path, capsys):
    evil = "gtFine/train/../aachen_000000_000019_gtFine_labelIds.png"
    assert run(tmp_path / "data", write_zip(tmp_path, FINE, {evil: b"x"})) == 2
    (line,) = lines(capsys)
    assert ".." in line and "refused" in line
    assert not list((tmp_path / "data/cityscapes").iterdir())


def test_archives_that_are_not_cityscapes(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("leftImg8bit/notes.txt", "x")
    assert run(tmp_path / "data", tmp_path / "other.zip") == 2
    (line,) = lines(capsys)
    assert "other.zip: not a Cityscapes archive" in line and IMAGES in line
    assert run(tmp_path / "data", tmp_path / "missing.zip") == 2
    assert lines(capsys) == [f"{tmp_path / 'missing.zip'}: no such file (--archive)"]
    whole = write_zip(tmp_path, IMAGES)
    whole.write_bytes(whole.read_bytes()[:-100])
    assert run(tmp_path / "data", whole) == 2
    (line,) = lines(capsys)
    assert IMAGES in line and "damaged" in line


FRANKFURT = "frankfurt/frankfurt_000000_000294"


def lose_mask(root):
    (root / f"gtFine/val/{FRANKFURT}_gtFine_labelIds.png").unlink()
    (root / f"gtFine/val/{FRANKFURT}_gtFine_labelTrainIds.png").unlink()
    return ["nothing for 1 frame (frankfurt_000000_000294) of leftImg8bit/val", FINE]


def lose_image(root):
    (root / f"leftImg8bit/val/{FRANKFURT}_leftImg8bit.png").unlink()
    return ["nothing for 1 frame (frankfurt_000000_000294) of gtFine/val", IMAGES]


def truncate_image(root):
    path = root / f"leftImg8bit/val/{FRANKFURT}_leftImg8bit.png"
    path.write_bytes(path.read_bytes()[:-40])
    return ["000294_leftImg8bit.png: not a whole PNG file"]


def empty_mask(root):
    (root / f"gtFine/val/{FRANKFURT}_gtFine_labelTrainIds.png").write_bytes(b"")
    return ["000294_gtFine_labelTrainIds.png: not a whole PNG file"]


def other_size(root):
    path = root / f"gtFine/val/{FRANKFURT}_gtFine_label"
    for kind in ("Ids", "TrainIds"):
        Path(f"{path}{kind}.png").write_bytes(png(np.full((8, 8), 255 * (kind != "Ids"), np.uint8)))
    return ["000294_gtFine_labelTrainIds.png: the mask is 8x8, its image is 32x16"]


def other_train_ids(root):
    """What a conversion to Cityscapes' 34 ids would have left."""
    path = root / f"gtFine/val/{FRANKFURT}_gtFine_labelTrainIds.png"
    path.write_bytes(png(label_ids("frankfurt_000000_000294")))
    return ["not the train ids of frankfurt_000000_000294_gtFine_labelIds.png", "delete"]


@pytest.mark.parametrize(
    "damage", [lose_mask, lose_image, truncate_image, empty_mask, other_size, other_train_ids]
)
def test_what_is_not_as_it_must_be_is_named(tmp_path, capsys, damage):
    root = unpacked(tmp_path, IMAGES, FINE)
    assert run(root) == 0
    expected = damage(root)
    capsys.readouterr()
    assert run(root) == 1
    (line,) = lines(capsys)
    for part in expected:
        assert part in line


def test_images_without_any_masks_ask_for_the_zip(tmp_path, capsys):
    assert run(tmp_path / "data", write_zip(tmp_path, IMAGES)) == 1
    found = capsys.readouterr()
    assert "gtFine/train       0 of 3  WRONG" in found.out
    assert all(FINE in line for line in found.err.splitlines())
    # The missing one comes later, by itself.
    assert run(tmp_path / "data", write_zip(tmp_path, FINE)) == 0
