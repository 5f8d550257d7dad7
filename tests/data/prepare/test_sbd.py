"""SBD beside VOC 2012: trainaug computed, masks converted, nothing of val in it."""

import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from local_server import running, small_disk
from PIL import Image
from test_voc2012 import HERE, ids, names, published
from torchvision.datasets import SBDataset
from voc_archives import (
    COUNTS,
    EXTRAS,
    SBD,
    SBD_COUNTS,
    SBD_TRAIN,
    TRAIN,
    TRAINAUG,
    VAL,
    VOC,
    jpeg,
    labels,
    matlab,
    md5,
    pack,
    sbd_files,
    snapshot,
    trainval_files,
)

from data_scripts import voc2012 as voc2012_script
from data_scripts.sbd import main
from replication.data import layouts, reading
from replication.data.prepare import sbd
from replication.data.prepare.download import Archive

LISTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "voc2012-lists"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def root(tmp_path):
    """A prepared VOC 2012."""
    return prepared(tmp_path, tmp_path / "data")


def prepared(tmp_path, root, *arguments, files=None):
    archive = pack(files or trainval_files(), tmp_path / "given/VOCtrainval_11-May-2012.tar")
    given = ["--root", str(root), "--archive", str(archive), *map(str, arguments)]
    assert voc2012_script.main(given, published(archive)) == 0
    return root


@pytest.fixture
def archive(tmp_path):
    return pack(sbd_files(), tmp_path / "given" / "benchmark.tgz", "w:gz")


def official(archive, url="", counts=SBD_COUNTS):
    return sbd.Official(
        archive=Archive(url=url, name="benchmark.tgz", md5=md5(archive)), counts=counts
    )


def run(root, *arguments, official):
    return main(["--root", str(root), *map(str, arguments)], official)


def mask(root, id_, folder="SegmentationClassAug"):
    with Image.open(root / VOC / folder / f"{id_}.png") as file:
        assert file.mode == "P"
        return np.array(file)


def test_from_the_official_address_through_a_break(root, archive, capsys):
    with running() as web:
        served = web.serve("benchmark.tgz", archive.read_bytes(), breaks=[5000])
        where = official(archive, f"{web.address}/benchmark.tgz")
        assert run(root, official=where) == 0
    assert sum(served.sent) == archive.stat().st_size and len(served.asked) == 2
    out = capsys.readouterr().out
    assert "leak check: none of the 8 trainaug ids is among the 3 of VOC val" in out
    assert "8 of 8" in out and f"--data voc={root / 'VOCdevkit'}" in out
    assert ids(root, "trainaug") == list(TRAINAUG)
    assert not set(TRAINAUG) & set(VAL)
    # No SBD mask where VOC has its own, and none of val.
    assert names(root, "SegmentationClassAug") == sorted(EXTRAS[:4])
    assert sorted(path.name for path in (root / VOC).iterdir()) == [
        "ImageSets", "JPEGImages", "SegmentationClass", "SegmentationClassAug",
    ]  # fmt: skip


def test_masks_are_what_torchvision_reads_from_the_archive(tmp_path, root, archive):
    assert run(root, "--archive", archive, official=official(archive)) == 0
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    for split in ("train", "val"):
        data = SBDataset(str(tmp_path / SBD), image_set=split, mode="segmentation")
        for i, id_ in enumerate((tmp_path / SBD / f"{split}.txt").read_text().split()):
            if id_ in EXTRAS:
                assert np.array_equal(mask(root, id_), np.array(data[i][1])), id_


def test_the_reader_takes_vocs_masks_first(root, archive):
    assert run(root, "--archive", archive, official=official(archive)) == 0
    listing = layouts.listing("voc", root / "VOCdevkit", "trainaug")
    assert listing.ids == TRAINAUG
    for i, id_ in enumerate(listing.ids):
        expected = labels(id_) if id_ in TRAIN else labels(f"sbd {id_}", void=False)
        image_hwc, mask_hw, problems = reading.read_pair(listing, i)
        assert not problems and image_hwc is not None
        assert np.array_equal(mask_hw, expected), id_


def test_run_again_it_verifies_and_does_nothing(root, archive, capsys):
    where = official(archive)
    assert run(root, "--archive", archive, official=where) == 0
    before = snapshot(root)
    archive.unlink()
    assert run(root, official=where) == 0
    assert "SBD is there already; verifying" in capsys.readouterr().out
    assert snapshot(root) == before


def test_photographs_that_voc_lacks_come_from_sbd(tmp_path, archive):
    files = trainval_files()
    for id_ in (EXTRAS[0], EXTRAS[3]):
        del files[f"{VOC}/JPEGImages/{id_}.jpg"]
    root = prepared(tmp_path, tmp_path / "data", files=files)
    kept = (root / VOC / f"JPEGImages/{EXTRAS[1]}.jpg").stat().st_mtime_ns
    assert run(root, "--archive", archive, official=official(archive)) == 0
    assert (root / VOC / f"JPEGImages/{EXTRAS[0]}.jpg").read_bytes() == jpeg(EXTRAS[0])
    assert (root / VOC / f"JPEGImages/{EXTRAS[1]}.jpg").stat().st_mtime_ns == kept


@pytest.mark.skipif(not LISTS.is_dir(), reason="no official VOC lists beside this checkout")
def test_the_full_set_equals_the_official_list():
    """SBD's own lists, of 8,498 and 2,857 ids, drawn so that they give the official trainaug."""
    official_list = (LISTS / "trainaug.txt").read_text().split()
    train, val = ((LISTS / f"{split}.txt").read_text().split() for split in ("train", "val"))
    extras = sorted(set(official_list) - set(train))
    assert (len(official_list), len(extras)) == (10_582, 9_118)
    draw = random.Random(0)
    # SBD labels VOC's photographs of 2011: most of train and val are in its lists as well.
    labelled = extras + draw.sample(train, 1_100) + draw.sample(val, 11_355 - 9_118 - 1_100)
    draw.shuffle(labelled)
    sbd_train, sbd_val = labelled[:8_498], labelled[8_498:]
    assert len(sbd_val) == 2_857 and set(sbd_train) & set(val) and set(sbd_val) & set(val)
    computed = sbd.trainaug(sbd_train, sbd_val, train, val)
    assert computed == tuple(sorted(official_list)) and not sbd.leaked(computed, val)
    # Each of the four sets matters.
    assert len(sbd.trainaug(sbd_train, sbd_val, train, ())) > 10_582
    assert len(sbd.trainaug(sbd_train, sbd_val, (), val)) < 10_582
    assert len(sbd.trainaug(sbd_train, (), train, val)) < 10_582
    assert len(sbd.trainaug((), sbd_val, train, val)) < 10_582


def test_leaks_are_named():
    assert sbd.leaked(["a", "b", "c"], ["d", "c", "a"]) == ["a", "c"]


def test_the_official_archive_and_counts_are_as_published():
    assert sbd.OFFICIAL.archive.url == SBDataset.url
    assert sbd.OFFICIAL.archive.md5 == SBDataset.md5
    assert sbd.OFFICIAL.counts["trainaug"] == 10582


def test_comparison_with_a_list_at_hand(tmp_path, root, archive, capsys):
    where, file = official(archive), tmp_path / "official.txt"
    file.write_text("\n".join(TRAINAUG))
    assert run(root, "--archive", archive, "--compare", file, official=where) == 0
    assert f"trainaug equals {file}" in capsys.readouterr().out
    file.write_text("\n".join((*TRAINAUG[1:], "2010_000001")))
    assert run(root, "--compare", file, official=where) == 1
    out = capsys.readouterr().out
    assert "trainaug lacks: 2010_000001 (1 ids" in out
    assert f"trainaug has beyond it: {TRAINAUG[0]} (1 ids" in out


def test_a_leak_in_a_list_that_is_there_is_an_error(root, archive, capsys):
    where = official(archive)
    assert run(root, "--archive", archive, official=where) == 0
    listed = root / VOC / "ImageSets/Segmentation/trainaug.txt"
    listed.write_text("\n".join((*TRAINAUG, VAL[2])))
    capsys.readouterr()
    assert run(root, official=where) == 1
    out, error = capsys.readouterr()
    assert f"{VAL[2]} is in VOC val: a leak" in error and "--data voc" not in out
    assert "in VOC val too (a leak)  1 of 0  WRONG" in out


def test_a_val_list_that_is_cut_short_cannot_leak(root, archive, capsys):
    """With half of VOC val unknown, the rest of it would end in trainaug."""
    file = root / VOC / "ImageSets/Segmentation/val.txt"
    file.write_text(VAL[2])
    assert run(root, "--archive", archive, official=official(archive)) == 2
    error = capsys.readouterr().err
    assert "1 val ids, 4 and 3 must be there" in error
    assert not (root / VOC / "ImageSets/Segmentation/trainaug.txt").exists()


def test_without_voc_it_says_what_to_do_first(tmp_path, archive, capsys):
    assert run(tmp_path / "none", "--archive", archive, official=official(archive)) == 2
    assert "python data_scripts/voc2012.py --root" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_tampered_archive_is_refused(root, archive, capsys):
    where = official(archive)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    before = snapshot(root / "VOCdevkit")
    assert run(root, "--archive", archive, official=where) == 2
    assert "md5 is" in capsys.readouterr().err
    assert snapshot(root / "VOCdevkit") == before


def lose_a_mask(files):
    del files[f"{SBD}/cls/{EXTRAS[1]}.mat"]
    return [f"benchmark.tgz: cls/{EXTRAS[1]}.mat: missing"]


def lose_a_list(files):
    del files[f"{SBD}/val.txt"]
    return ["val.txt: cannot be read"]


def short_list(files):
    files[f"{SBD}/val.txt"] = EXTRAS[3].encode()
    return ["val.txt has 1 ids, 3 must be there"]


def stray_and_damaged(files):
    """Both are named at once."""
    files[f"{SBD}/cls/{EXTRAS[0]}.mat"] = matlab(np.full((16, 24), 21, dtype=np.uint8))
    files[f"{SBD}/cls/{EXTRAS[1]}.mat"] = b"not Matlab"
    return [f"{EXTRAS[0]}.mat: value 21; allowed are 0 to 20 and 255", f"{EXTRAS[1]}.mat: GTcls"]


def other_size(files):
    files[f"{SBD}/cls/{EXTRAS[0]}.mat"] = matlab(np.zeros((24, 16), dtype=np.uint8))
    return [f"{EXTRAS[0]}.mat: the mask is 16x24, its image", "is 24x16"]


def other_list(files):
    files[f"{SBD}/train.txt"] = "\n".join((TRAIN[2], *SBD_TRAIN[1:])).encode()
    return ["trainaug would have 7 ids, 8 must be there"]  # Lists of the right lengths.


@pytest.mark.parametrize(
    "damage", [lose_a_mask, lose_a_list, short_list, stray_and_damaged, other_size, other_list]
)
def test_an_archive_that_does_not_hold_together_changes_nothing(root, tmp_path, damage, capsys):
    files = sbd_files()
    expected = damage(files)
    archive = pack(files, tmp_path / "benchmark.tgz", "w:gz")
    before = set(snapshot(root / "VOCdevkit"))
    capsys.readouterr()
    assert run(root, "--archive", archive, official=official(archive)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for part in expected:
        assert part in error
    assert set(snapshot(root / "VOCdevkit")) == before


def test_a_smaller_set_of_some_ids(tmp_path, archive, capsys):
    some = [TRAIN[2], TRAIN[0], VAL[0], VAL[1], EXTRAS[0], EXTRAS[4]]
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(some))
    root = prepared(tmp_path, tmp_path / "small", "--ids", file)
    where = official(archive)
    assert run(root, "--archive", archive, official=where) == 2  # Not without its ids.
    assert "give the --ids FILE that it was made with" in capsys.readouterr().err
    assert run(root, "--archive", archive, "--ids", file, official=where) == 0
    assert ids(root, "trainaug") == sorted([TRAIN[0], TRAIN[2], EXTRAS[0]])
    assert names(root, "SegmentationClassAug") == [EXTRAS[0]]
    before = snapshot(root)
    assert run(root, "--ids", file, official=where) == 0 and snapshot(root) == before


def test_other_ids_cannot_bring_val_into_a_smaller_set(tmp_path, archive, capsys):
    file, wider = tmp_path / "ids.txt", tmp_path / "wider.txt"
    file.write_text("\n".join([TRAIN[0], VAL[2]]))
    # VAL[0] is in SBD train; the smaller set does not know that it is in VOC val.
    wider.write_text("\n".join([TRAIN[0], VAL[0], "2099_000001"]))
    root = prepared(tmp_path, tmp_path / "small", "--ids", file)
    assert run(root, "--archive", archive, "--ids", wider, official=official(archive)) == 2
    assert "2099_000001 is not in SBD or VOC 2012" in capsys.readouterr().err
    wider.write_text("\n".join([TRAIN[0], VAL[0]]))
    assert run(root, "--archive", archive, "--ids", wider, official=official(archive)) == 2
    assert f"{VAL[0]} is not in" in capsys.readouterr().err
    assert not (root / VOC / "ImageSets/Segmentation/trainaug.txt").exists()


def test_a_full_disk_leaves_nothing_that_looks_whole(tmp_path, archive, capsys):
    with small_disk(tmp_path / "disk", "160k") as disk:
        root = prepared(tmp_path, disk)
        free = disk / "filler"
        with pytest.raises(OSError), free.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        with free.open("r+b") as filler:
            filler.truncate(free.stat().st_size - 12_288)
        before = set(snapshot(root / "VOCdevkit"))
        capsys.readouterr()
        assert run(root, "--archive", archive, official=official(archive)) == 2
        error = capsys.readouterr().err
        assert "disk is full" in error or "No space left" in error
        assert len(error.splitlines()) == 1
        assert set(snapshot(root / "VOCdevkit")) == before
        free.unlink()
        assert run(root, "--archive", archive, official=official(archive)) == 0


def test_a_kill_leaves_nothing_that_looks_whole(tmp_path, root):
    files = sbd_files()
    content = files[f"{SBD}/cls/{EXTRAS[0]}.mat"]
    for i in range(2000):
        files[f"{SBD}/cls/2010_{i:06}.mat"] = content
    archive = pack(files, tmp_path / "benchmark.tgz", "w:gz")
    where = official(archive)
    code = f"""if True:
        import sys
        from data_scripts.sbd import main
        from replication.data.prepare.download import Archive
        from replication.data.prepare.sbd import Official
        sys.exit(main(["--root", {str(root)!r}, "--archive", {str(archive)!r}], {where!r}))"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=HERE)
    made = root / VOC / "sbd.partial"
    deadline = time.monotonic() + 60
    while not list(made.glob("cls/*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was killed half-way"
    assert made.is_dir() and not (root / VOC / "SegmentationClassAug").exists()
    assert not (root / VOC / "ImageSets/Segmentation/trainaug.txt").exists()
    assert run(root, "--archive", archive, official=where) == 0
    assert not made.exists() and ids(root, "trainaug") == list(TRAINAUG)


def test_real_photographs_and_masks(tmp_path, real_voc):
    """Real SBD masks, put back into Matlab files, come out as they are."""
    home = real_voc / "VOC2012"
    lists = {s: (home / f"ImageSets/Segmentation/{s}.txt").read_text().split()
             for s in ("train", "val", "trainaug")}  # fmt: skip
    extras = sorted(set(lists["trainaug"]) - set(lists["train"]))[:20]
    train, val = lists["train"][:5], lists["val"][:5]
    files = {
        f"{VOC}/ImageSets/Segmentation/{split}.txt": "\n".join(listed).encode()
        for split, listed in (("train", train), ("val", val), ("trainval", train + val))
    }
    masks = {}
    for id_ in (*train, *val, *extras):
        files[f"{VOC}/JPEGImages/{id_}.jpg"] = (home / f"JPEGImages/{id_}.jpg").read_bytes()
        own = home / f"SegmentationClass/{id_}.png"
        if id_ not in extras:
            files[f"{VOC}/SegmentationClass/{id_}.png"] = own.read_bytes()
        with Image.open(home / f"SegmentationClassAug/{id_}.png" if id_ in extras else own) as png:
            masks[id_] = np.array(png)
    voc = pack(files, tmp_path / "VOCtrainval_11-May-2012.tar")
    root = tmp_path / "data"
    counts = {**COUNTS, "train": 5, "val": 5, "trainval": 10}
    given = ["--root", str(root), "--archive", str(voc)]
    assert voc2012_script.main(given, published(voc, counts=counts)) == 0
    members = sbd_files(train=(*extras[:12], *val[:2]), val=(*extras[12:], train[0]), masks=masks)
    archive = pack(members, tmp_path / "benchmark.tgz", "w:gz")
    must = {"sbd train": 14, "sbd val": 9, "train": 5, "val": 5, "trainaug": 25}
    assert run(root, "--archive", archive, official=official(archive, counts=must)) == 0
    assert ids(root, "trainaug") == sorted((*train, *extras))
    for id_ in extras:
        assert np.array_equal(mask(root, id_), masks[id_])
