"""VOC 2012 from archives in the official layout, by the script that a user runs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from local_server import running, small_disk
from PIL import Image
from torchvision.datasets import VOCSegmentation
from voc_archives import (
    COUNTS,
    EXTRAS,
    TEST,
    TRAIN,
    VAL,
    VOC,
    files_of_test,
    jpeg,
    labels,
    md5,
    pack,
    png,
    snapshot,
    trainval_files,
)

from data_scripts.voc2012 import main
from replication.data import layouts
from replication.data.prepare import voc2012
from replication.data.prepare.download import Archive

HERE = Path(__file__).resolve().parents[3]
TRAINVAL_TAR, TEST_TAR = "VOCtrainval_11-May-2012.tar", "VOC2012test.tar"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def trainval(tmp_path):
    return pack(trainval_files(), tmp_path / "given" / TRAINVAL_TAR)


@pytest.fixture
def test_archive(tmp_path):
    return pack(files_of_test(), tmp_path / "given" / TEST_TAR)


def published(trainval=None, test=None, url="http://127.0.0.1:9/none", counts=COUNTS):
    """What would be published of these archives."""
    return voc2012.Official(
        trainval=Archive(url=url, name=TRAINVAL_TAR, md5=trainval and md5(trainval)),
        test=Archive(url="", name=TEST_TAR, md5=test and md5(test), login="needs a login: there"),
        counts=counts,
    )


def run(root, *arguments, official):
    return main(["--root", str(root), *map(str, arguments)], official)


def ids(root, split):
    return (root / VOC / f"ImageSets/Segmentation/{split}.txt").read_text().split()


def names(root, folder):
    return sorted(path.stem for path in (root / VOC / folder).iterdir())


def test_from_the_official_address_through_breaks(tmp_path, trainval, capsys):
    root = tmp_path / "data"
    with running() as web:
        served = web.serve(TRAINVAL_TAR, trainval.read_bytes(), breaks=[20_000, 20_000])
        official = published(trainval, url=f"{web.address}/{TRAINVAL_TAR}")
        assert run(root, official=official) == 0
    assert sum(served.sent) == trainval.stat().st_size and len(served.asked) == 3
    out = capsys.readouterr().out
    for line in ("train     4 of 4", "val       3 of 3", "trainval  7 of 7"):
        assert line in out
    assert f"--data voc={root / 'VOCdevkit'}" in out and "no test images" in out
    assert sorted(p.name for p in (root / VOC).iterdir()) == [
        "ImageSets", "JPEGImages", "SegmentationClass",
    ]  # fmt: skip
    assert names(root, "JPEGImages") == sorted((*TRAIN, *VAL, *EXTRAS))
    assert names(root, "SegmentationClass") == sorted((*TRAIN, *VAL))
    assert [p.name for p in (root / VOC / "ImageSets").iterdir()] == ["Segmentation"]


def test_torchvision_reads_what_was_put_in(tmp_path, trainval):
    root = tmp_path / "data"
    assert run(root, "--archive", trainval, official=published(trainval)) == 0
    for split, listed in (("train", TRAIN), ("val", VAL)):
        data = VOCSegmentation(str(root), year="2012", image_set=split)
        assert len(data) == len(listed)
        for (image, mask), id_ in zip(data, listed, strict=True):
            assert np.array_equal(np.array(mask), labels(id_)) and mask.mode == "P"
            assert image.size == mask.size
            content = (root / VOC / f"JPEGImages/{id_}.jpg").read_bytes()
            assert content == jpeg(id_)
    assert len(layouts.listing("voc", root / "VOCdevkit", "trainval").ids) == 7


def test_run_again_it_verifies_and_does_nothing(tmp_path, trainval, capsys):
    root, official = tmp_path / "data", published(trainval)
    assert run(root, "--archive", trainval, official=official) == 0
    before = snapshot(root)
    trainval.unlink()
    assert run(root, official=official) == 0
    assert "there already; verifying" in capsys.readouterr().out
    assert snapshot(root) == before


def test_test_images_come_with_their_archive_or_later(tmp_path, trainval, test_archive):
    official = published(trainval, test_archive)
    both = ["--archive", trainval, "--archive", test_archive]
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(one, *both, official=official) == 0
    assert run(two, "--archive", trainval, official=official) == 0
    assert not (two / VOC / "ImageSets/Segmentation/test.txt").exists()
    assert run(two, "--archive", test_archive, official=official) == 0
    for root in (one, two):
        assert ids(root, "test") == list(TEST)
        # Of the archive's photographs only those of the segmentation test.
        assert names(root, "JPEGImages") == sorted((*TRAIN, *VAL, *EXTRAS, *TEST))
        before = snapshot(root)
        assert run(root, official=official) == 0 and snapshot(root) == before


def test_archives_are_known_by_what_they_hold(tmp_path, trainval, test_archive, capsys):
    official = published(trainval, test_archive)
    renamed = [tmp_path / "one.tar", tmp_path / "two.tar"]
    test_archive.rename(renamed[0])
    trainval.rename(renamed[1])
    both = ["--archive", renamed[0], "--archive", renamed[1]]
    assert run(tmp_path / "data", *both, official=official) == 0
    other = pack({"readme.txt": b"?"}, tmp_path / "other.tar")
    assert run(tmp_path / "new", "--archive", other, official=official) == 2
    assert "is neither VOCtrainval_11-May-2012.tar nor VOC2012test.tar" in capsys.readouterr().err
    assert run(tmp_path / "new", *both, *both, official=official) == 2
    assert "give each archive once" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_tampered_archive_is_refused(tmp_path, trainval, capsys):
    official = published(trainval)
    data = bytearray(trainval.read_bytes())
    data[len(data) // 2] ^= 1
    trainval.write_bytes(data)
    assert run(tmp_path / "data", "--archive", trainval, official=official) == 2
    error = capsys.readouterr().err
    assert "md5 is" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "data" / "VOCdevkit").exists() and trainval.read_bytes() == data


def lose_a_mask(files):
    del files[f"{VOC}/SegmentationClass/{TRAIN[1]}.png"]
    return [f"{TRAINVAL_TAR}: SegmentationClass/{TRAIN[1]}.png: missing"]


def stray_value(files):
    files[f"{VOC}/SegmentationClass/{VAL[0]}.png"] = png(np.full((16, 24), 21))
    return [f"{VAL[0]}.png: value 21; allowed are 0 to 20 and 255"]


def other_size(files):
    files[f"{VOC}/SegmentationClass/{VAL[0]}.png"] = png(np.zeros((24, 16)))
    return [f"{VAL[0]}.png: the mask is 16x24, its image", "is 24x16"]


def short_list(files):
    files[f"{VOC}/ImageSets/Segmentation/val.txt"] = VAL[0].encode()
    return ["val.txt has 1 ids, 3 must be there"]


def overlap(files):
    both = "\n".join((*VAL[:2], TRAIN[0]))
    files[f"{VOC}/ImageSets/Segmentation/val.txt"] = both.encode()
    return [f"{TRAIN[0]} is in train and in val"]


def no_lists(files):
    for name in [name for name in files if "Segmentation/" in name and name.endswith(".txt")]:
        del files[name]
    return ["train.txt: cannot be read"]


def leads_out(files):
    files[f"{VOC}/JPEGImages/../../../../out.jpg"] = b"out"
    return  # Not wanted, so not written.


@pytest.mark.parametrize(
    "damage",
    [lose_a_mask, stray_value, other_size, short_list, overlap, no_lists, leads_out],
)
def test_an_archive_that_does_not_hold_together_makes_nothing(tmp_path, damage, capsys):
    files = trainval_files()
    expected = damage(files)
    archive = pack(files, tmp_path / TRAINVAL_TAR)
    root = tmp_path / "deep" / "data"
    status = run(root, "--archive", archive, official=published(archive))
    assert not list(tmp_path.rglob("out.jpg"))
    error = capsys.readouterr().err
    if expected is None:
        assert status == 0
        return
    assert status == 2 and "Traceback" not in error
    for part in expected:
        assert part in error
    assert not [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_damaged_set_is_named_and_not_mended_silently(tmp_path, trainval, capsys):
    root, official = tmp_path / "data", published(trainval)
    assert run(root, "--archive", trainval, official=official) == 0
    (root / VOC / f"JPEGImages/{TRAIN[0]}.jpg").unlink()
    (root / VOC / f"SegmentationClass/{VAL[0]}.png").write_bytes(png(np.zeros((9, 9))))
    (root / VOC / f"SegmentationClass/{VAL[1]}.png").write_bytes(b"")
    (root / VOC / "ImageSets/Segmentation/train.txt").write_text("\n".join(TRAIN[:3]))
    before = snapshot(root)
    capsys.readouterr()
    assert run(root, official=official) == 1
    out, error = capsys.readouterr()
    assert "train     3 of 4  WRONG" in out and "to make it anew: remove" in out
    assert "--data voc=" not in out
    for part in (
        f"{TRAIN[0]}.jpg: missing", f"{VAL[0]}.png: is 9x9, its image 24x16",
        f"{VAL[1]}.png: is not a picture", f"{TRAIN[3]} is not in it exactly if",
    ):  # fmt: skip
        assert part in error
    assert snapshot(root) == before


def test_a_smaller_set_of_some_ids(tmp_path, trainval, test_archive, capsys):
    official = published(trainval, test_archive)
    file = tmp_path / "ids.txt"
    some = [TRAIN[2], VAL[1], EXTRAS[0], TEST[1]]
    file.write_text("\n".join(some) + "\n\n")
    both = ["--archive", trainval, "--archive", test_archive]
    root = tmp_path / "small"
    assert run(root, "--ids", file, *both, official=official) == 0
    assert [ids(root, s) for s in ("train", "val", "trainval", "test")] == [
        [TRAIN[2]], [VAL[1]], sorted([TRAIN[2], VAL[1]]), [TEST[1]],
    ]  # fmt: skip
    assert names(root, "JPEGImages") == sorted(some)
    assert names(root, "SegmentationClass") == sorted(some[:2])
    before = snapshot(root)
    assert run(root, "--ids", file, official=official) == 0 and snapshot(root) == before
    # Without its ids it is not the full set, and says so.
    capsys.readouterr()
    assert run(root, official=official) == 1
    assert "train     1 of 4  WRONG" in capsys.readouterr().out
    file.write_text(f"{TRAIN[2]}\n")
    assert run(root, "--ids", file, official=official) == 1
    assert "another set lies here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TRAIN[0]}\n2099_000001\n{TEST[0]}\n", ["2099_000001 is not in", f"{TEST[0]} is not"]),
        ("", ["no ids here"]),
        (f"{TRAIN[0]}\n{TRAIN[0]}\n", [f"{TRAIN[0]} stands there twice"]),
        ("../../etc/passwd\n", ["'../../etc/passwd' is not an id"]),
    ],
)
def test_ids_that_cannot_be_used_are_named(tmp_path, trainval, text, expected, capsys):
    file = tmp_path / "ids.txt"
    file.write_text(text)
    root = tmp_path / "small"
    arguments = ["--ids", file, "--archive", trainval]
    assert run(root, *arguments, official=published(trainval)) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == len(expected)
    for part in expected:
        assert part in error
    assert not (root / "VOCdevkit").exists()


def test_a_full_disk_leaves_nothing_that_looks_whole(tmp_path, trainval, capsys):
    with small_disk(tmp_path / "disk", "30k") as disk:
        assert run(disk, "--archive", trainval, official=published(trainval)) == 2
        error = capsys.readouterr().err
        assert "the disk is full" in error and len(error.splitlines()) == 1
        assert not [path for path in disk.rglob("*") if path.suffix in (".txt", ".jpg", ".png")]


def test_a_kill_leaves_nothing_that_looks_whole(tmp_path, capsys):
    files = trainval_files()
    picture = jpeg("any")
    for i in range(4000):
        files[f"{VOC}/JPEGImages/2012_{i:06}.jpg"] = picture
    archive = pack(files, tmp_path / TRAINVAL_TAR)
    root, official = tmp_path / "data", published(archive)
    code = f"""if True:
        import sys
        from data_scripts.voc2012 import main
        from replication.data.prepare.download import Archive
        from replication.data.prepare.voc2012 import Official
        sys.exit(main(["--root", {str(root)!r}, "--archive", {str(archive)!r}], {official!r}))"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=HERE)
    made = root / VOC / "trainval.partial"
    deadline = time.monotonic() + 60
    while not list(made.glob("JPEGImages/*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was killed half-way"
    assert [path.name for path in (root / VOC).iterdir()] == ["trainval.partial"]
    (made / "JPEGImages" / "left_over.jpg").write_bytes(b"")
    assert run(root, "--archive", archive, official=official) == 0
    assert not made.exists()
    assert len(names(root, "JPEGImages")) == 4000 + 12


def test_only_one_command_at_a_time(tmp_path, trainval, capsys):
    from replication.data.prepare.command import alone

    root = tmp_path / "data"
    with alone(root, "voc2012"):
        assert run(root, "--archive", trainval, official=published(trainval)) == 2
    assert "another command is preparing voc2012 here" in capsys.readouterr().err


def test_a_root_that_cannot_be_written_is_one_line(tmp_path, trainval, capsys):
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / "data"
    assert run(root, "--archive", trainval, official=published(trainval)) == 2
    error = capsys.readouterr().err
    assert str(root) in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("command", [["data_scripts/voc2012.py"], ["-m", "data_scripts.voc2012"]])
def test_both_ways_of_calling_it(command, tmp_path):
    """From another folder too, where it is run as a file."""
    where = HERE if command[0] == "-m" else tmp_path
    script = command if command[0] == "-m" else [str(HERE / command[0])]
    run = [sys.executable, "-I", *script] if command[0] != "-m" else [sys.executable, *script]
    result = subprocess.run([*run, "--help"], cwd=where, text=True, capture_output=True)
    assert result.returncode == 0 and "--archive FILE" in result.stdout, result.stderr


def test_the_official_archives_are_as_published():
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    table = DATASET_YEAR_DICT["2012"]
    official = voc2012.OFFICIAL.trainval
    assert (official.md5, official.name) == (table["md5"], table["filename"])
    assert official.url.endswith("/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar")
    assert voc2012.OFFICIAL.counts == {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456}


def test_real_photographs(tmp_path, real_voc):
    """An archive of real photographs comes out byte for byte, and its masks stay as they are."""
    home = real_voc / "VOC2012"
    splits = {s: (home / f"ImageSets/Segmentation/{s}.txt").read_text().split()[:30]
              for s in ("train", "val")}  # fmt: skip
    files = {}
    for split, listed in {**splits, "trainval": sorted(splits["train"] + splits["val"])}.items():
        files[f"{VOC}/ImageSets/Segmentation/{split}.txt"] = "\n".join(listed).encode()
    for id_ in splits["train"] + splits["val"]:
        for name in (f"JPEGImages/{id_}.jpg", f"SegmentationClass/{id_}.png"):
            files[f"{VOC}/{name}"] = (home / name).read_bytes()
    archive = pack(files, tmp_path / TRAINVAL_TAR)
    counts = {"train": 30, "val": 30, "trainval": 60, "test": 0}
    official = published(archive, counts=counts)
    assert run(tmp_path / "data", "--archive", archive, official=official) == 0
    for name, content in files.items():
        if not name.endswith(".txt"):
            assert (tmp_path / "data" / name).read_bytes() == content, name
    with Image.open(tmp_path / "data" / VOC / f"SegmentationClass/{splits['val'][0]}.png") as mask:
        assert mask.mode == "P" and mask.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
