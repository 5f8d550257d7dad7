"""COCO's archives, downloaded or given, an unpacked COCO, and the script that takes them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from coco_samples import (
    NAMES,
    PICTURES,
    H,
    W,
    archive,
    contents,
    document,
    encoded,
    jpeg,
    make,
    members_2017,
    refused,
    release,
    run_script,
    unpacked,
    zips,
)
from local_server import running
from rich.console import Console

from data_scripts import coco as script
from replication.data.prepare import coco
from replication.data.prepare.coco_source import RELEASES, Unpacked
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


def test_an_unpacked_coco_is_linked(made, tmp_path):
    home = unpacked(tmp_path / "unpacked", members_2017())
    root = tmp_path / "other"
    console = Console(quiet=True)
    assert coco.prepare(root, release(), Unpacked(home=home), console=console)
    assert contents(root / "coco") == contents(made / "coco")
    linked = root / f"coco/JPEGImages/{NAMES[0]}.jpg"
    assert linked.samefile(home / f"train2017/{NAMES[0]}.jpg")


def test_where_nothing_can_be_linked_images_are_copied(made, tmp_path, monkeypatch):
    def no_link(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    home = unpacked(tmp_path / "unpacked", members_2017())
    assert coco.prepare(
        tmp_path / "other", release(), Unpacked(home=home), console=Console(quiet=True)
    )
    assert contents(tmp_path / "other/coco") == contents(made / "coco")


def test_an_unpacked_coco_that_lacks_something(tmp_path):
    home = unpacked(tmp_path / "unpacked", members_2017())

    def said():
        with pytest.raises(DataError) as caught:
            coco.prepare(
                tmp_path / "data", release(), Unpacked(home=home), console=Console(quiet=True)
            )
        return str(caught.value)

    (home / f"train2017/{NAMES[2]}.jpg").unlink()
    assert said() == f"{home}/train2017: image {NAMES[2]}.jpg is missing"
    shutil.rmtree(home / "train2017")
    assert f"{home}/train2017: cannot be read" in said() and "train2017.zip" in said()
    (home / "annotations/instances_train2017.json").unlink()
    assert "it comes in annotations_trainval2017.zip" in said()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda m: m["train2017.zip"].pop(f"train2017/{NAMES[1]}.jpg"),
            f"train2017.zip: image train2017/{NAMES[1]}.jpg is missing",
        ),
        (
            lambda m: m["train2017.zip"].update({f"train2017/{NAMES[1]}.jpg": jpeg(1, 20, 20)}),
            f"{NAMES[1]}.png: is {W}x{H}, its image 20x20",
        ),
        (
            lambda m: m["train2017.zip"].update({f"train2017/{NAMES[1]}.jpg": b"no picture"}),
            f"{NAMES[1]}.jpg: is not a picture",
        ),
        (
            lambda m: m["annotations_trainval2017.zip"].pop("annotations/instances_train2017.json"),
            "holds no annotations/instances_train2017.json",
        ),
        (
            lambda m: m["annotations_trainval2017.zip"].pop("annotations/instances_val2017.json"),
            "holds no annotations/instances_val2017.json",
        ),
        (
            lambda m: m["annotations_trainval2017.zip"].update(
                {"annotations/instances_train2017.json": b'{"images": ['}
            ),
            "instances_train2017.json: not JSON",
        ),
        (
            lambda m: m["annotations_trainval2017.zip"].update(
                {"annotations/instances_train2017.json": encoded(document({25: PICTURES[25]}))}
            ),
            "instances_train2017.json: has 1 images, must have 9",
        ),
        (
            lambda m: m["annotations_trainval2017.zip"].update(
                {"annotations/instances_val2017.json": encoded(document({139: []}))}
            ),
            "instances_val2017.json: has 1 images, must have 2",
        ),
        # A leak: an image of minival among the training images.
        (
            lambda m: m["annotations_trainval2017.zip"].update(
                {"annotations/instances_val2017.json": encoded(document({139: [], 25: []}))}
            ),
            "1 images of minival are in 2017's training images, e.g. 25",
        ),
    ],
)
def test_archives_that_do_not_fit_are_refused_in_a_line(tmp_path, change, says):
    members = members_2017()
    change(members)
    (line,) = refused(tmp_path / "data", zips(tmp_path / "zips", members), release())
    assert says in line


def test_a_damaged_image_archive_is_refused_by_its_crc(tmp_path, archives):
    file = tmp_path / "zips/train2017.zip"
    content = bytearray(file.read_bytes())
    content[content.index(jpeg(30)) + 100] ^= 255
    file.write_bytes(content)
    (line,) = refused(tmp_path / "data", archives, release())
    assert "train2017.zip: damaged" in line and "CRC" in line


def test_a_file_that_is_not_cocos_is_refused_by_name(tmp_path, archives):
    other = archive(tmp_path / "train2018.zip", {"a": b""})
    (line,) = refused(tmp_path / "data", [*archives, other], release())
    assert f"{other}: not an archive of COCO 2017; they are annotations_trainval2017.zip" in line


def test_the_script_makes_verifies_and_says_what_is_wrong(tmp_path, archives, capsys):
    root = tmp_path / "data"
    assert run_script(root, archives) == (0, "")
    assert f"--data coco={root}/coco" in capsys.readouterr().out
    assert run_script(root, []) == (0, "")
    (root / f"coco/JPEGImages/{NAMES[0]}.jpg").unlink()
    status, error = run_script(root, [])
    assert (status, error) == (1, f"{root}/coco/JPEGImages/{NAMES[0]}.jpg: missing\n")
    status, error = run_script(root, [], "--year=2014")
    assert status == 2 and "holds all images of COCO 2017" in error
    home = unpacked(tmp_path / "unpacked", members_2017())
    assert run_script(tmp_path / "two", [], f"--unpacked={home}")[0] == 0
    with pytest.raises(SystemExit):
        script.main([f"--root={root}", f"--unpacked={home}", "--archive=train2017.zip"])


def test_the_script_downloads_and_goes_on_after_a_break(made, tmp_path, archives, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    contents_of = {path.name: path.read_bytes() for path in archives}
    with running() as server:
        images = server.serve("train2017.zip", contents_of["train2017.zip"], breaks=[2_000])
        server.serve("annotations_trainval2017.zip", contents_of["annotations_trainval2017.zip"])
        official = release(server=server.address, contents=contents_of)
        root = tmp_path / "downloaded"
        assert run_script(root, [], releases={"2017": official}) == (0, "")
    assert images.asked == [None, "bytes=2000-"]
    assert contents(root / "coco") == contents(made / "coco")
    assert (root / "archives/train2017.zip").read_bytes() == contents_of["train2017.zip"]


def test_the_images_are_fetched_only_when_the_annotations_are_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    members = members_2017()
    members["annotations_trainval2017.zip"]["annotations/instances_train2017.json"] = b"{}"
    contents_of = {path.name: path.read_bytes() for path in zips(tmp_path / "zips", members)}
    with running() as server:
        images = server.serve("train2017.zip", contents_of["train2017.zip"])
        server.serve("annotations_trainval2017.zip", contents_of["annotations_trainval2017.zip"])
        official = release(server=server.address, contents=contents_of)
        status, error = run_script(tmp_path / "data", [], releases={"2017": official})
    assert status == 2 and "no list `categories`" in error and images.asked == []


def test_the_releases_hold_the_same_images():
    """118,287 + 5,000 = 82,783 + 40,504: trainval2014 is train2017 and val2017."""
    assert {release.minival.images for release in RELEASES.values()} == {5_000}
    totals = {year: sum(p.images for p in one.parts) for year, one in RELEASES.items()}
    assert totals["2014"] - 5_000 == totals["2017"] == 118_287
    for one in RELEASES.values():
        for file in [one.annotations, one.minival_annotations, *(p.archive for p in one.parts)]:
            assert file.url.startswith("http://images.cocodataset.org/")
            assert file.url.endswith(file.name) and len(file.sha256) == 64 and file.size


@pytest.mark.parametrize("how", [["data_scripts/coco.py"], ["-m", "data_scripts.coco"]])
def test_both_ways_to_start_it(how):
    ended = subprocess.run(
        [sys.executable, *how, "--help"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ended.returncode == 0 and "--minival" in ended.stdout
