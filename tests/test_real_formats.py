"""The paper's chains from official archives to a test server's file, at smoke scale.

Archives in the official formats of VOC 2012, SBD, COCO and Cityscapes, with tiny pictures, go
through the real converters; what they make is trained on, submitted, and scored.
"""

import json
import shutil
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from data_scripts import cityscapes, coco, sbd, voc2012
from replication import record, submit
from replication.data.layouts import VOC_CLASSES
from replication.data.prepare import cityscapes as cityscapes_set
from replication.data.prepare import sbd as sbd_set
from replication.data.prepare import voc2012 as voc_set
from replication.data.prepare.download import Archive
from replication.run import main
from tests.data.prepare import cityscapes_samples, coco_samples, voc_archives


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """VOC 2012 with SBD's trainaug, and COCO with VOC's classes, from archives."""
    folder = tmp_path_factory.mktemp("official")
    given, root = folder / "given", folder / "data"
    trainval = voc_archives.pack(
        voc_archives.trainval_files(), given / "VOCtrainval_11-May-2012.tar"
    )
    test = voc_archives.pack(voc_archives.files_of_test(), given / "VOC2012test.tar")
    benchmark = voc_archives.pack(voc_archives.sbd_files(), given / "benchmark.tgz", "w:gz")
    official = replace(
        voc_set.OFFICIAL,
        trainval=Archive(url="", name=trainval.name, md5=voc_archives.md5(trainval)),
        test=Archive(url="", name=test.name, md5=voc_archives.md5(test)),
        counts=voc_archives.COUNTS,
    )
    archives = ["--archive", str(trainval), "--archive", str(test)]
    assert voc2012.main(["--root", str(root), *archives], official) == 0
    official_sbd = sbd_set.Official(
        archive=Archive(url="", name=benchmark.name, md5=voc_archives.md5(benchmark)),
        counts=voc_archives.SBD_COUNTS,
    )
    assert sbd.main(["--root", str(root), "--archive", str(benchmark)], official_sbd) == 0
    zips = []
    for name, members in coco_samples.members_2017().items():
        zips += ["--archive", str(coco_samples.archive(given / name, members))]
    assert coco.main(["--root", str(root), *zips], {"2017": coco_samples.release()}) == 0
    return root


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "cache"))
    return tmp_path / "results"


def on_real_formats(data, results):
    given = ["--data", f"voc={data / 'VOCdevkit'}", "--data", f"coco={data / 'coco'}"]
    return ["--tier", "smoke", "--results", str(results), *given]


def records(results, kind):
    steps = results / "smoke" / "steps"
    return [path for path in steps.iterdir() if path.name.startswith(kind) and path.is_dir()]


def test_coco_to_trainaug_to_trainval_to_the_server(data, results, capsys):
    """Table 7's chain, its submission, its score entered by hand."""
    where = on_real_formats(data, results)
    assert main(["--table", "7", *where]) == 0
    trained = [json.loads((path / "config.json").read_text()) for path in records(results, "train")]
    splits = {(one["config"]["data"]["role"], one["config"]["data"]["split"]) for one in trained}
    assert splits == {("coco", "train"), ("voc", "trainaug"), ("voc", "trainval")}
    assert not records(results, "evaluate")
    last = next(one["config"] for one in trained if one["config"]["data"]["split"] == "trainval")
    stage = last["stage"]
    assert (stage["output_stride"], stage["batch_norm"], stage["learning_rate"]) == (
        8,
        "frozen",
        0.001,
    )
    assert "sofa" in stage["duplicate"]
    out = capsys.readouterr().out
    assert "replication.submit --table 7" in out and "unavailable" in out

    archive = results / "voc.tgz"
    assert submit.main(["--table", "7", *where, "--out", str(archive)]) == 0
    with tarfile.open(archive) as tar:
        written = {name for name in tar.getnames() if name.endswith(".png")}
        folder = "results/VOC2012/Segmentation/comp6_test_cls"
        assert written == {f"{folder}/{id_}.png" for id_ in voc_archives.TEST}
        member = tar.extractfile(f"{folder}/{voc_archives.TEST[0]}.png")
        assert member is not None
        with Image.open(BytesIO(member.read())) as mask:
            assert mask.size == voc_archives.SIZE and np.array(mask).max() < len(VOC_CLASSES)

    score = ["--miou", "12.5", "--evidence", "a server's page"]
    assert record.main(["--table", "7", *where, *score]) == 0
    assert main(["--table", "7", *where]) == 0
    rendered = (results / "smoke/tables/table07.md").read_text()
    assert "12.5" in rendered and "entered by hand (a server's page" in rendered


def test_coco_then_trainaug_is_evaluated_on_val(data, results):
    """Table 6's last row; evaluated counts are those of val's own pixels."""
    assert main(["--cell", "table6/os8-ms-flip-coco", *on_real_formats(data, results)]) == 0
    [evaluation] = records(results, "evaluate")
    outcome = json.loads((evaluation / "outcome.json").read_text())
    void = voc_archives.SIZE[0]  # one row of each mask
    pixels = voc_archives.SIZE[0] * voc_archives.SIZE[1] - void
    assert outcome["images"] == 3 and outcome["pixels"] == 3 * pixels


def test_the_converted_sets_are_what_torchvision_reads(data):
    """torchvision's own VOC reader finds the same pictures and masks."""
    theirs = torchvision.datasets.VOCSegmentation(str(data), year="2012", image_set="train")
    assert [Path(name).stem for name in theirs.images] == list(voc_archives.TRAIN)
    for id_, (_, mask) in zip(voc_archives.TRAIN, theirs, strict=True):
        assert np.array_equal(np.array(mask), voc_archives.labels(id_))


def test_no_number_on_val_from_a_chain_that_trained_on_trainval(data, results, tmp_path, capsys):
    """Table 7's last stage evaluated on val is refused by name, before any data is looked at."""
    here = Path(__file__).resolve().parents[1]
    tables = tmp_path / "tables"
    shutil.copytree(here / "tables", tables, ignore=shutil.ignore_patterns("table0[1-689]*", "*1*"))
    seventh = (tables / "table07.toml").read_text()
    (tables / "table07.toml").write_text(seventh.replace('split = "test"', 'split = "val"'))
    where = [*on_real_formats(data, results), "--tables", str(tables)]
    assert main(["--cell", "table7/deeplabv3", *where]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any('"val" is trained on: stage trainval has "trainval"' in line for line in lines)
    assert not (results / "smoke").exists()


def test_no_number_on_val_from_a_trainaug_that_holds_val(data, results, tmp_path, capsys):
    """A well-known mistake: an SBD list from which val was not taken out."""
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    listed = copy / "VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt"
    listed.write_text(listed.read_text() + f"{voc_archives.VAL[1]}\n")
    assert main(["--cell", "table6/os8-ms-flip-coco", *on_real_formats(copy, results)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "stage 3 trained on voc trainaug, which holds 1 of the 3 pictures of val" in line
    assert voc_archives.VAL[1] in line and not records(results, "train")


def test_cityscapes_from_its_official_layout(results, tmp_path, monkeypatch, capsys):
    """Tables 12 and 13 on a converted tree: val is scored, test is for the server."""
    monkeypatch.setattr(cityscapes_set, "PARTS", cityscapes_samples.small_parts())
    root = tmp_path / "cityscapes"
    archives = []
    for name in cityscapes_samples.ARCHIVES:
        archives += ["--archive", str(cityscapes_samples.write_zip(tmp_path / "given", name))]
    assert cityscapes.main(["--root", str(root), *archives]) == 0
    found = capsys.readouterr().out
    home = next(path for path in (root / "cityscapes", root) if (path / "leftImg8bit").is_dir())
    assert f"--data cityscapes={home}" in found.replace("\n", "")
    where = ["--tier", "smoke", "--results", str(results), "--data", f"cityscapes={home}"]
    assert main(["--table", "12", "--table", "13", *where]) == 0
    for evaluation in records(results, "evaluate"):
        outcome = json.loads((evaluation / "outcome.json").read_text())
        assert (
            outcome["images"] == len(cityscapes_samples.FRAMES["val"])
            and len(outcome["per_class"]) == 19
        )
    assert len(records(results, "evaluate")) == 4
    archive = results / "cityscapes.zip"
    assert submit.main(["--table", "13", *where, "--out", str(archive)]) == 0
