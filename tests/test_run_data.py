"""The command on data of one's own: problems before any training, leaks, what tables say."""

import pytest

from replication.run import main
from tests.data.test_reading import make_voc, resize_mask
from tests.test_run import records, table


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "cache"))


def test_bad_images_are_all_named_before_any_training(tmp_path, capsys):
    root = make_voc(tmp_path, ids=("a", "b", "c", "d"))
    home = root / "VOC2012"
    for split in ("trainaug", "val"):
        (home / f"ImageSets/Segmentation/{split}.txt").write_text("a\nb\nc\nd\n")
    resize_mask(home)
    (home / "JPEGImages/c.jpg").unlink()
    results = tmp_path / "results"
    arguments = ["--table", "9", "--tier", "smoke", "--data", f"voc={root}"]
    assert main([*arguments, "--results", str(results)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
    assert "b.png: the mask is 9x9" in lines[0] and "c.jpg: missing" in lines[1]
    assert not records(results, "train")


def test_own_data_are_named_in_every_rendering(tmp_path):
    root = make_voc(tmp_path, ids=("a", "b", "c", "d"))
    for split, ids in (("trainaug", "a\nb\nc\n"), ("val", "d\n")):
        (root / f"VOC2012/ImageSets/Segmentation/{split}.txt").write_text(ids)
    arguments = ["--cell", "table9/batch4", "--tier", "smoke", "--data", f"voc={root}"]
    assert main([*arguments, "--results", str(tmp_path / "results"), "--no-cache"]) == 0
    content = table(tmp_path / "results", 9)
    assert f"on voc = {root}" in content["notice"] and "not comparable" in content["notice"]
    per_class = content["cells"][0]["per_class"]
    assert len(per_class) == 21 and per_class["aeroplane"] is not None


def test_no_number_on_pictures_that_were_trained_on(tmp_path, capsys):
    root = make_voc(tmp_path, ids=("a", "b", "c", "d"))
    for split, ids in (("trainaug", "a\nb\nc\n"), ("val", "c\nd\n")):
        (root / f"VOC2012/ImageSets/Segmentation/{split}.txt").write_text(ids)
    results = tmp_path / "results"
    arguments = ["--cell", "table9/batch4", "--tier", "smoke", "--data", f"voc={root}"]
    assert main([*arguments, "--results", str(results)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "table9/batch4: stage 2 trained on voc trainaug, which holds 1 of the 2" in line
    assert "(such as c)" in line
    assert not records(results, "train")


def test_without_weights_no_picture_is_read_and_all_that_lacks_is_named(tmp_path, capsys):
    root = make_voc(tmp_path, ids=("a", "b"))
    for split, ids in (("trainaug", "a\n"), ("val", "b\n")):
        (root / f"VOC2012/ImageSets/Segmentation/{split}.txt").write_text(ids)
    (root / "VOC2012/JPEGImages/a.jpg").write_bytes(b"no picture")
    arguments = ["--table", "9", "--tier", "paper", "--results", str(tmp_path / "results")]
    assert main([*arguments, "--data", f"voc={root}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--weights resnet101=FILE" in line
    assert not (tmp_path / "cache").exists()
    assert main(arguments) == 2
    weights, data = capsys.readouterr().err.splitlines()
    assert "--weights resnet101=FILE" in weights and "--data voc=PATH" in data
