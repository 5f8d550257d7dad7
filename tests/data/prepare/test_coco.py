"""MS-COCO in VOC's layout: what is made, verified, refused, and left by a kill or a full disk."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coco_samples import (
    KEPT,
    NAMES,
    PICTURES,
    H,
    W,
    annotation,
    box,
    contents,
    document,
    encoded,
    filled,
    jpeg,
    make,
    members_2017,
    refused,
    release,
    run_script,
    runs,
    stamps,
    zips,
)
from local_server import small_disk
from PIL import Image

from replication.data import cache
from replication.data.layouts import VOC_CLASSES, listing
from replication.data.palette import save_indexed
from replication.data.prepare import coco
from replication.data.prepare.coco_annotations import read_pictures
from replication.errors import DataError

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def archives(tmp_path):
    return zips(tmp_path / "zips", members_2017())


@pytest.fixture
def made(tmp_path, archives):
    """A finished set in tmp_path/data."""
    assert make(tmp_path / "data", archives, release())[0]
    return tmp_path / "data"


def read(root, tmp_path):
    return cache.decode(listing("coco", root / "coco", "train", VOC_CLASSES), tmp_path / "cache")


def test_what_the_reader_reads(made, tmp_path):
    data = read(made, tmp_path)
    assert list(data.ids) == NAMES and data.classes == VOC_CLASSES
    expected = {
        25: filled(2, 3, 77, 13) * 12,
        30: (filled(0, 0, 40, 20) | filled(40, 30, 30, 20)) * 1,
        34: np.where(filled(0, 10, 30, 45), 15, filled(0, 0, 80, 30) * 255),
        36: filled(5, 6, 50, 40) * 10,
        61: filled(10, 10, 60, 40) * 20,
    }
    for i, id_ in enumerate(KEPT):
        assert np.array_equal(data.mask(i), expected[id_]), id_
        with Image.open(io.BytesIO(jpeg(id_))) as picture:
            assert np.array_equal(data.image(i), np.array(picture)), id_


def test_the_layout_is_vocs(made):
    home = made / "coco"
    assert sorted(contents(home)) == sorted(
        [f"JPEGImages/{name}.jpg" for name in NAMES]
        + [f"SegmentationClass/{name}.png" for name in NAMES]
        + ["ImageSets/Segmentation/train.txt"]
    )
    with Image.open(home / f"SegmentationClass/{25:012}.png") as mask:
        assert mask.mode == "P" and mask.size == (W, H)
        # VOC's colour of dog, as its development kit has it.
        assert mask.convert("RGB").getpixel((2, 3)) == (64, 0, 128)
    assert not list(made.glob("*.partial"))


DOG_1000, DOG_1001 = annotation("dog", [box(0, 0, 40, 25)]), annotation("dog", [box(0, 0, 77, 13)])
SMALL_CAT = annotation("cat", [box(0, 40, 30, 20)])  # 600 pixels beside them


@pytest.mark.parametrize(
    ("regions", "kept", "objects"),
    [
        ([DOG_1000], False, (1_000,)),
        ([DOG_1001], True, (1_001,)),
        ([DOG_1000, SMALL_CAT], True, (1_000, 600)),
        # 600 and 600 pixels that share 200: 1,000 are left.
        ([SMALL_CAT, annotation("dog", [box(20, 40, 30, 20)])], False, (600, 600)),
        # A fork on the dog takes one pixel of its 1,001.
        ([DOG_1001, annotation("fork", [box(5, 5, 1, 1)])], False, (1_001,)),
        # What is void does not count.
        ([DOG_1000, annotation("dog", runs(filled(0, 30, 80, 30)), crowd=1)], False, (1_000,)),
        ([annotation("person", runs(filled(0, 0, 80, 60)), crowd=1)], False, ()),
        ([annotation("bed", [box(0, 0, 80, 60)])], False, ()),
        ([], False, ()),
    ],
)
def test_an_image_stays_with_more_than_1000_pixels(tmp_path, regions, kept, objects):
    (picture,) = read_pictures(encoded(document({7: regions})), "x").values()
    painted = coco.paint_one(picture, tmp_path)
    assert (painted.kept, painted.objects) == (kept, objects)
    assert (tmp_path / "000000000007.png").exists() == kept


def test_what_is_counted(tmp_path, archives):
    _, said = make(tmp_path / "data", archives, release())
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "train2017 9 of 9" in lines
    assert "of minival, left out 0 of 0" in lines
    assert "trainval minus minival 9 of 9" in lines
    assert "VOC's classes on more than 1,000 pixels (paper: about 60K) 5" in lines
    # 30's 800 and 600 pixels are one object.
    assert "(for comparison: one object of more than 1,000 pixels) 5" in lines
    assert any(line.endswith(f"--data coco={tmp_path}/data/coco") for line in lines)


def test_other_readings_of_the_rule_are_counted_beside_it(tmp_path):
    pictures = {
        1: [DOG_1001, SMALL_CAT],  # one object is large, the other is not
        2: [DOG_1000, SMALL_CAT],  # only together
        3: [DOG_1001],
    }
    archives = zips(tmp_path / "zips", members_2017(pictures))
    _, said = make(tmp_path / "data", archives, release(pictures=pictures))
    found = [line.rsplit(maxsplit=1)[1] for line in said.splitlines() if "1,000 pixels" in line]
    assert found == ["3", "2", "1"]


def test_run_again_it_verifies_and_does_nothing(made):
    before = stamps(made / "coco")
    right, said = make(made, [], release())  # no archive is asked for
    assert right and "there already; verifying" in said
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert {"train.txt 5 of 5", "JPEGImages 5 of 5", "SegmentationClass 5 of 5"} <= set(lines)
    assert stamps(made / "coco") == before


def lose_image(home):
    (home / f"JPEGImages/{NAMES[1]}.jpg").unlink()
    return f"{NAMES[1]}.jpg: missing"


def break_mask(home):
    (home / f"SegmentationClass/{NAMES[1]}.png").write_bytes(b"\x89PNG")
    return f"{NAMES[1]}.png: is not a picture"


def swap_image(home):
    (home / f"JPEGImages/{NAMES[1]}.jpg").write_bytes(jpeg(1, 20, 20))
    return f"{NAMES[1]}.png: is {W}x{H}, its image 20x20"


def shorten_list(home):
    (home / "ImageSets/Segmentation/train.txt").write_text("\n".join(NAMES[:3]))
    return "train.txt: changed since the set was made"


@pytest.mark.parametrize("damage", [lose_image, break_mask, swap_image, shorten_list])
def test_a_damaged_set_is_named_and_left_alone(made, damage, capsys):
    expected = damage(made / "coco")
    before = stamps(made / "coco")
    right, said = make(made, [], release())
    assert not right and "--data" not in said and "to make it anew: remove" in said
    assert expected in capsys.readouterr().err
    assert stamps(made / "coco") == before


def test_nothing_that_stays_is_refused(tmp_path, archives):
    ids = tmp_path / "ids.txt"
    ids.write_text("9\n42\n49\n")
    (line,) = refused(tmp_path / "data", archives, release(), ids_file=ids)
    assert line.startswith("none of 3 images has more than 1,000 pixels")


def test_a_folder_of_something_else_is_left_alone(tmp_path, archives):
    (tmp_path / "data/coco").mkdir(parents=True)
    (tmp_path / "data/coco/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not a set that this command has finished"):
        make(tmp_path / "data", archives, release())
    assert (tmp_path / "data/coco/mine.txt").read_text() == "mine"


def test_many_images_go_through_worker_processes(tmp_path):
    pictures = {id_: PICTURES[KEPT[id_ % len(KEPT)]] for id_ in range(200, 270)}
    archives = zips(tmp_path / "zips", members_2017(pictures))
    assert make(tmp_path / "data", archives, release(pictures=pictures))[0]
    data = read(tmp_path / "data", tmp_path)
    assert len(data) == 70
    for i, id_ in enumerate(range(200, 270)):
        (picture,) = read_pictures(encoded(document({id_: pictures[id_]})), "x").values()
        mask = coco.coco_masks.paint(coco.coco_masks.shapes(picture), H, W)
        assert np.array_equal(data.mask(i), mask)


DYING = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {repository!r}]
from pathlib import Path
from test_coco import coco, make, release
from replication.data.prepare import unpack

left = {calls}
def dying(*arguments, original={where}, **options):
    global left
    left -= 1
    if not left:
        if {where!r} == "unpack._write":
            place = arguments[1]
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)

{where} = dying
make(Path({root!r}), [Path(name) for name in {archives!r}], release())
"""


@pytest.mark.parametrize(
    ("where", "calls", "masks", "images"),
    [
        ("coco.save_indexed", 3, 2, 0),
        ("unpack._write", 4, 5, 4),  # the fourth is half there
        ("coco.voc_tree.write_list", 1, 5, 5),
        # After the record (twice), five masks and the list: the set's own renaming.
        ("coco.os.replace", 9, 5, 5),
    ],
)
def test_a_kill_leaves_nothing_that_looks_whole_and_a_rerun_goes_on(
    made, tmp_path, archives, where, calls, masks, images
):
    root = tmp_path / "killed"
    program = DYING.format(
        where=where, calls=calls, root=str(root), archives=[str(path) for path in archives],
        tests=str(Path(__file__).parent), repository=str(REPOSITORY),
    )  # fmt: skip
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (root / "coco").exists()
    draft = root / "coco.partial"
    left = stamps(draft / "SegmentationClass")
    there = [len(list((draft / f).glob("[!.]*"))) for f in ("SegmentationClass", "JPEGImages")]
    assert there == [masks, images]

    right, said = make(root, archives, release())
    assert right and "going on with what an earlier run left" in said
    assert contents(root / "coco") == contents(made / "coco")
    assert not draft.exists()
    for path, stamp in left.items():
        kept = root / "coco/SegmentationClass" / path.name
        assert path.name.startswith(".") or kept.stat().st_mtime_ns == stamp, "painted again"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:70]),
        lambda path: save_indexed(np.full((H, W), 21, np.uint8), path),
        lambda path: save_indexed(np.full((H, W), 0, np.uint8), path),
        lambda path: save_indexed(np.full((H + 1, W), 1, np.uint8), path),
        lambda path: Image.new("L", (W, H)).save(path),
    ],
)
def test_a_mask_of_an_earlier_run_is_checked_before_it_is_used(made, tmp_path, archives, damage):
    root = interrupted(tmp_path, archives)
    damage(root / f"coco.partial/SegmentationClass/{NAMES[0]}.png")
    assert make(root, archives, release())[0]
    assert contents(root / "coco") == contents(made / "coco")


def test_what_another_run_left_is_not_used(made, tmp_path, archives):
    root = interrupted(tmp_path, archives)
    pictures = {**PICTURES, 30: [annotation("train", [box(0, 0, 80, 60)])]}
    others = zips(tmp_path / "changed", members_2017(pictures))
    right, said = make(root, others, release())
    assert right and "going on" not in said
    changed = contents(root / "coco")
    with Image.open(io.BytesIO(changed.pop(f"SegmentationClass/{30:012}.png"))) as mask:
        assert (np.array(mask) == VOC_CLASSES.index("train")).all()
    assert changed.items() <= contents(made / "coco").items()


def interrupted(tmp_path, archives):
    """A data folder in which a run has failed after its masks: an image archive was damaged."""
    root, broken = tmp_path / "interrupted", tmp_path / "broken"
    members = members_2017()
    members["train2017.zip"].pop(f"train2017/{NAMES[4]}.jpg")
    refused(root, zips(broken, members), release())
    assert len(list((root / "coco.partial/SegmentationClass").iterdir())) == len(KEPT)
    return root


@pytest.mark.parametrize(
    ("size", "says"),
    [("20k", "No space left on device"), ("40k", "the disk is full")],  # in masks, in images
)
def test_a_full_disk_leaves_nothing_that_looks_whole(made, tmp_path, archives, size, says):
    with small_disk(tmp_path / "disk", size) as disk:
        root = disk / "data"
        status, error = run_script(root, archives)
        assert status == 2 and says in error
        assert len(error.splitlines()) == 1 and not (root / "coco").exists()
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        assert run_script(root, archives)[0] == 0
        assert contents(root / "coco") == contents(made / "coco")
