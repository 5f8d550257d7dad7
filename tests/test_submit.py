"""Submitting from a results folder: the archives hold what the evaluation step counted."""

import contextlib
import copy
import io
import json
import os
import resource
import shutil
import signal
import tarfile
import types
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import args as official_args
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import (
    evaluateImgLists,
    getPrediction,
)
from cityscapesscripts.helpers.labels import trainId2label
from PIL import Image
from safetensors.numpy import load_file

from replication import record as record_command
from replication import submit
from replication.arguments import HOME
from replication.checkpoints import read_tensors, write_tensors
from replication.data.sources import Sources
from replication.execute import Context, run_job
from replication.plan import build
from replication.runs import Store
from replication.spec import load_tables
from replication.tiers import load_tier

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
ARCHIVES = {
    7: "table07-deeplabv3-seed0-not-for-the-server.tgz",
    13: "table13-deeplabv3-seed0-not-for-the-server.zip",
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPLICATION_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Tables 7 and 13 at the smoke tier, each step run here: results, plan and store."""
    results = tmp_path_factory.mktemp("results")
    tier = load_tier("smoke", HOME / "tiers")
    tables = [table for table in load_tables(HOME / "tables") if table.number in (7, 13)]
    sources = Sources.of(tier.data, {})
    plan = build(tables, tier, sources, [0])
    store = Store(results / "smoke")
    store.prepare()
    context = Context(
        store=store, sources=sources, device="cpu", threads=1, checkpoint_seconds=60.0, weights={},
        progress=lambda *_: None, should_stop=lambda: False,
    )  # fmt: skip
    for step in plan.steps.values():
        run_job([step], context)
        if step.kind == "train":
            _sharpen(store.path(step.id) / "weights.safetensors")
    return types.SimpleNamespace(results=results, plan=plan, store=store, sources=sources)


def _sharpen(file):
    """After two iterations everything is background: predictions that vary show more."""
    tensors, facts = read_tensors(file)
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = -30 * tensors[name]
    write_tensors(file, tensors, facts)


def command(done, number, *more):
    return ["--table", str(number), "--tier", "smoke", "--results", str(done.results), *more]


def record(done, number):
    [run] = [run for run in done.plan.runs if run.table == number]
    folder = done.store.path(run.evaluation.id)
    confusion = load_file(folder / "counts.safetensors")["confusion"]
    ids = (folder / "images.txt").read_text().split()
    return dict(zip(ids, confusion, strict=True)), done.store.outcome(run.evaluation.id)["miou"]


@pytest.fixture(scope="module")
def submitted(done):
    """Both archives, by table."""
    for number in ARCHIVES:
        assert submit.main(command(done, number)) == 0
    return {n: done.results / "smoke/submissions" / name for n, name in ARCHIVES.items()}


def test_voc_predictions_are_those_that_were_counted(done, submitted):
    """Each submitted PNG against the generated test labels gives the record's counts."""
    counts, _ = record(done, 7)
    home = done.sources.by_role["voc"].root() / "VOC2012"
    predicted = set()
    with tarfile.open(submitted[7]) as archive:
        assert {name.removeprefix(f"{FOLDER}/") for name in archive.getnames()} == {
            f"{id_}.png" for id_ in counts
        }
        for id_, wanted in counts.items():
            with Image.open(archive.extractfile(f"{FOLDER}/{id_}.png")) as file:
                assert file.mode == "P"
                ours = np.array(file)
            with Image.open(home / f"SegmentationClass/{id_}.png") as file:
                truth = np.array(file)
            assert ours.shape == truth.shape
            found = np.zeros_like(wanted)
            np.add.at(found, (truth[truth != 255], ours[truth != 255]), 1)
            assert np.array_equal(found, wanted)
            predicted |= set(np.unique(ours).tolist())
    assert len(predicted) > 2


def test_cityscapes_scores_with_its_own_evaluator_as_on_record(done, submitted, tmp_path):
    """The official evaluator finds each file in the unpacked zip, and gives our mIoU."""
    counts, miou = record(done, 13)
    with zipfile.ZipFile(submitted[13]) as archive:
        assert len(archive.namelist()) == len(counts)
        archive.extractall(tmp_path / "predictions")
    where = types.SimpleNamespace(predictionPath=str(tmp_path / "predictions"), predictionWalk=None)
    table = np.zeros(256, np.uint8)  # what is ignored, 255, becomes label id 0, unlabelled
    for train_id in range(19):
        table[train_id] = trainId2label[train_id].id
    pairs = []
    root = done.sources.by_role["cityscapes"].root()
    for path in sorted(root.glob("gtFine/test/*/*_labelTrainIds.png")):
        truth = tmp_path / path.name.replace("labelTrainIds", "labelIds")
        with Image.open(path) as file:
            Image.fromarray(table[np.array(file)]).save(truth)
        pairs.append((getPrediction(where, str(truth)), str(truth)))
    # Its instance scores are another metric, in code that needs an older NumPy.
    args = copy.copy(official_args)
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    with contextlib.redirect_stdout(io.StringIO()):
        result = evaluateImgLists(*map(list, zip(*pairs, strict=True)), args)
    labels = [trainId2label[train_id].id for train_id in range(19)]
    theirs = np.array(result["confMatrix"])[np.ix_(labels, labels)]
    assert np.array_equal(theirs, sum(counts.values()))
    assert 100 * result["averageScoreClasses"] == pytest.approx(miou, rel=1e-12)
    assert (theirs.sum(0) > 0).sum() > 2


def test_what_is_said_of_generated_pictures(done, submitted, capsys):
    for number, said in ((7, "8 images of voc test"), (13, "4 images of cityscapes test")):
        before = submitted[number].read_bytes()
        assert submit.main(command(done, number)) == 0
        out = capsys.readouterr().out
        assert said in out and "every id of test once, places, sizes, values" in out
        assert "of no use to the server: the pictures are generated (embedded:smoke)" in out
        assert "next:" not in out
        assert submitted[number].read_bytes() == before  # a second time, the same bytes
    assert len(list(submitted[7].parent.iterdir())) == 2


def test_without_a_cache_it_is_the_same_archive(done, submitted, tmp_path):
    out = tmp_path / "new/of my own.tar.gz"
    assert submit.main(command(done, 7, "--no-cache", "--out", str(out))) == 0
    assert out.read_bytes() == submitted[7].read_bytes()


def test_check_alone_names_every_fault(done, submitted, tmp_path, capsys):
    assert submit.main(command(done, 7, "--check", str(submitted[7]))) == 0
    with tarfile.open(submitted[7]) as old, tarfile.open(tmp_path / "a.tgz", "w:gz") as new:
        for member in old.getmembers()[2:]:
            new.addfile(member, old.extractfile(member))
        member.name = f"{FOLDER}/2012_123456.png"
        new.addfile(member, old.extractfile(old.getmembers()[-1]))
    capsys.readouterr()
    assert submit.main(command(done, 7, "--check", str(tmp_path / "a.tgz"))) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.startswith("fault: ") for line in lines[:3])
    assert "2012_123456.png: stands for no image" in lines[0] and ": missing" in lines[2]
    assert "a.tgz: 3 faults" in lines[3]
    # A zip is no tgz, and the other way round.
    assert submit.main(command(done, 7, "--check", str(submitted[13]))) == 1
    assert submit.main(command(done, 13, "--check", str(submitted[7]))) == 1
    assert capsys.readouterr().out.count("damaged, or no") == 2


def test_nothing_faulty_gets_the_name(done, tmp_path, monkeypatch, capsys):
    from replication.submission import write

    whole = write.predictions
    monkeypatch.setattr(write, "predictions", lambda *given: list(whole(*given))[1:])
    assert submit.main(command(done, 7, "--out", str(tmp_path / "a.tgz"))) == 1
    assert ": missing; the list test has" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_interrupted_it_leaves_nothing_that_looks_whole(done, tmp_path, monkeypatch, capsys):
    from replication.submission import write

    whole = write.predictions

    def stopped(*given):
        for number, one in enumerate(whole(*given)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield one

    monkeypatch.setattr(write, "predictions", stopped)
    assert submit.main(command(done, 7, "--out", str(tmp_path / "a.tgz"))) == 130
    assert list(tmp_path.iterdir()) == []
    assert "give the same command again" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_nothing(done, submitted, tmp_path, capsys):
    """The system refuses to let any file grow beyond 400 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    for number, archive in submitted.items():
        out = tmp_path / archive.name
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
        try:
            assert submit.main(command(done, number, "--out", str(out))) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        error = capsys.readouterr().err
        assert "File too large" in error and len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_ones_own_are_for_the_server(done, submitted, tmp_path, capsys, monkeypatch):
    """A set given by its path, the chain on record for it: what is said, and the next commands."""
    root = done.sources.by_role["voc"].root()
    tier = load_tier("smoke", HOME / "tiers")
    sources = Sources.of(tier.data, {"voc": str(root)})
    plan = build(done.plan.tables[:1], tier, sources, [0])
    [before] = [run for run in done.plan.runs if run.table == 7]
    store = Store(tmp_path / "smoke")
    store.prepare()
    for old, step in zip(before.chain, plan.runs[0].chain, strict=True):
        shutil.copy(done.store.path(old.id) / "weights.safetensors", store.begin(step))
        store.finish(step, {"status": "done"})
    where = ["--tier", "smoke", "--data", f"voc={root}", "--results", str(tmp_path)]
    assert submit.main(["--table", "7", *where]) == 0
    out = capsys.readouterr().out
    assert "of no use to the server: the list test has 8 ids, not 1,456" in out
    [archive] = (tmp_path / "smoke/submissions").iterdir()
    assert archive.name == ARCHIVES[7] and archive.read_bytes() == submitted[7].read_bytes()
    # As if eight pictures were the whole test set.
    monkeypatch.setitem(submit.SERVERS, "voc", replace(submit.SERVERS["voc"], images=8))
    assert submit.main(["--table", "7", *where]) == 0
    out = capsys.readouterr().out
    assert "of no use" not in out
    assert "next: upload it to the PASCAL VOC evaluation server, http://host.robots" in out
    assert (archive.parent / "table07-deeplabv3-seed0.tgz").read_bytes() == archive.read_bytes()
    # The command that it names enters the score.
    told = out.split("then enter its score: python -m replication.record ")[1].split()
    told[told.index("PERCENT")], told[told.index("URL")] = "80.5", "a mail"
    assert record_command.main(told) == 0
    assert "80.5, entered by hand (a mail" in capsys.readouterr().out


def test_training_on_the_test_pictures_is_refused(done, tmp_path, capsys, monkeypatch):
    """A test list that somebody filled with pictures of a training list."""
    root = done.sources.by_role["voc"].root()
    file = root / "VOC2012/ImageSets/Segmentation/test.txt"
    before = file.read_text()
    file.write_text((file.parent / "val.txt").read_text())
    try:
        assert submit.main(command(done, 7, "--out", str(tmp_path / "a.tgz"))) == 2
    finally:
        file.write_text(before)
    error = capsys.readouterr().err
    assert "stage 4 trained on voc trainval, which holds 8 of the 8 pictures of test" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--table", "5"],
            "--table 5: it has no cell that a test server scores; give --cell",
        ),
        (["--table", "14"], "--table 14: no such table; there are 1, 2"),
        (["--table", "7", "--cell", "deeplab"], 'no such cell; the nearest known is "deeplabv3"'),
        (["--table", "7", "--cell", "deeplabv3-jft"], "table7/deeplabv3-jft: JFT-300M is not publ"),
        (["--table", "7", "--cell", "pspnet"], "table7/pspnet: another group's number, quoted by"),
        (["--table", "9", "--cell", "batch4"], "a measured cell cannot be scored by a server"),
        (["--table", "7", "--tier", "smok"], '"smoke"'),
        (["--table", "7", "--out", "x.zip"], "--out x.zip: must end in .tgz or .tar.gz"),
        (["--table", "13", "--out", "x.tgz"], "--out x.tgz: must end in .zip"),
        (["--table", "7", "--check", "/no/such.tgz"], "/no/such.tgz: no such file"),
        (["--table", "7", "--data", "voc=/no/such"], "/no/such: no such folder"),
        (["--table", "7", "--tier", "paper"], "no data for the role voc; give --data voc=PATH"),
        (["--table", "7", "--seed", "1"], "smoke --seeds 2 --results"),
        (["--table", "7", "--device", "cuda:7"], "--device cuda:7: no such device"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(done, arguments, said, capsys):
    if "--tier" not in arguments:
        arguments = [*arguments, "--tier", "smoke"]
    assert submit.main([*arguments, "--results", str(done.results)]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1 and "Traceback" not in error


def test_an_untrained_cell_names_the_command_that_trains_it(tmp_path, capsys):
    where = ["--tier", "smoke", "--results", str(tmp_path / "r")]
    assert submit.main(["--table", "7", *where]) == 2
    error = capsys.readouterr().err
    assert "table7/deeplabv3 seed 0: not trained in" in error and "(0 of 4 stages done)" in error
    told = error.split("train it: python -m replication.run ")[1].split()
    # The command is one that replication.run takes.
    from replication.run import main

    assert main([*told, "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 1


def test_weights_of_other_classes_are_refused(done, tmp_path, capsys):
    [run] = [run for run in done.plan.runs if run.table == 7]
    file = done.store.path(run.chain[-1].id) / "weights.safetensors"
    whole = file.read_bytes()
    tensors, facts = read_tensors(file)
    out = ["--out", str(tmp_path / "a.tgz")]
    try:
        write_tensors(file, tensors, {"classes": facts["classes"][::-1]})
        assert submit.main(command(done, 7, *out)) == 2
        assert "trained for other classes than this set's" in capsys.readouterr().err
        file.write_bytes(whole[:500])
        assert submit.main(command(done, 7, *out)) == 2
        assert "weights.safetensors: damaged" in capsys.readouterr().err
    finally:
        file.write_bytes(whole)
    assert list(tmp_path.iterdir()) == []
