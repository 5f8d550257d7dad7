"""The command, against plain loops with torchvision's own forward pass, and our own evaluation."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix
from torchvision import models as theirs
from torchvision.transforms import functional as T

from replication.checkpoints import write_tensors
from replication.data.layouts import VOC_CLASSES
from replication.data.sources import Sources
from replication.evaluate import main
from replication.execute import Context, run_job
from replication.network.deeplab import build
from replication.protocol import Evaluation
from replication.runs import Step, Store
from tests.conftest import small_network, small_stage
from tests.data.test_reading import write_mask

HERE = Path(__file__).resolve().parents[1]
TRAIN, VAL = ("t1", "t2"), ("v1", "v2", "v3", "v4", "v5")
SIZES = {"v1": (40, 33), "v2": (33, 40), "v3": (49, 49), "v4": (40, 33), "v5": (70, 52)}


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """A VOC tree of noise in several sizes, train and val apart; every class occurs but `train`."""
    home = tmp_path_factory.mktemp("voc") / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / part).mkdir(parents=True)
    random = np.random.default_rng(5)
    for id_ in (*TRAIN, *VAL):
        h, w = SIZES.get(id_, (33, 33))
        coarse = random.integers(0, 256, (h // 8 + 1, w // 8 + 1, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((w, h), Image.Resampling.BILINEAR)
        image.save(home / "JPEGImages" / f"{id_}.jpg", quality=95)
        values = [*range(19), 20, 255]
        write_mask(home / "SegmentationClass" / f"{id_}.png", random.choice(values, (h, w)))
    lists = {"train": TRAIN, "val": VAL, "trainval": TRAIN + VAL}
    for name, ids in lists.items():
        (home / "ImageSets/Segmentation" / f"{name}.txt").write_text("\n".join(ids) + "\n")
    return home.parent


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path_factory.getbasetemp() / "evaluate-data"))


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory):
    """torchvision's DeepLabv3 with an auxiliary head, as its published files have; untrained.

    Its BN statistics are those of noise and its logits are spread, so that predictions vary.
    """
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = theirs.segmentation.deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=21, aux_loss=True
        )
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # statistics of all that it sees
        with torch.no_grad():
            network.train()(torch.randn(4, 3, 49, 49))
            network.classifier[4].weight.mul_(10)
    path = tmp_path_factory.mktemp("weights") / "deeplabv3_resnet50.pth"
    torch.save(network.state_dict(), path)
    return network.eval(), path


def run(tmp_path, voc, *arguments, data="voc"):
    """The command's JSON."""
    file = tmp_path / "scores.json"
    given = [*arguments, "--data", f"{data}={voc}", "--json", str(file), "--device", "cpu"]
    assert main(given) == 0
    return json.loads(file.read_text())


def plain_loop(network, voc, *, crop=0, scales=(1.0,), flip=False):
    """One image at a time, with torchvision's own forward pass and torchmetrics' counting."""
    oracle = MulticlassConfusionMatrix(21, ignore_index=255)
    for id_ in VAL:
        with Image.open(voc / "VOC2012/JPEGImages" / f"{id_}.jpg") as file:
            x = T.to_tensor(file.convert("RGB"))
        with Image.open(voc / "VOC2012/SegmentationClass" / f"{id_}.png") as file:
            mask = torch.from_numpy(np.array(file)).long()
        x = T.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None]
        h, w = mask.shape
        height, width = max(h, crop), max(w, crop)
        x = F.pad(x, (0, width - w, 0, height - h))
        total = torch.zeros(1, 21, height, width)
        for scale in scales:
            size = (int((height - 1) * scale + 1), int((width - 1) * scale + 1))
            scaled = F.interpolate(x, size, mode="bilinear", align_corners=False)
            for flipped in (False, True) if flip else (False,):
                with torch.no_grad():
                    out = network(scaled.flip(3) if flipped else scaled)["out"]
                out = F.interpolate(out, (height, width), mode="bilinear", align_corners=False)
                out = out.softmax(1)
                total += out.flip(3) if flipped else out
        oracle.update(total.argmax(1)[:, :h, :w], mask[None])
    return oracle.confmat.numpy()


def test_torchvisions_deeplabv3_is_counted_as_a_plain_loop_does(resnet50, voc, tmp_path, capsys):
    network, weights = resnet50
    model = ["--model", "torchvision:deeplabv3_resnet50", "--weights", str(weights)]
    content = run(tmp_path, voc, *model, "--crop-size", "0", "--csv", str(tmp_path / "c.csv"))
    expected = plain_loop(network, voc)
    assert (expected.sum(0) > 0).sum() >= 5, "the predictions must vary"
    [result] = content["results"]
    assert np.array_equal(result["confusion"], expected)
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = [[int(row[name]) for name in VOC_CLASSES] for row in csv.DictReader(file)]
    assert np.array_equal(rows, expected)

    hits = np.diag(expected)
    union = expected.sum(0) + expected.sum(1) - hits
    ious = [100 * hit / all_ if all_ else None for hit, all_ in zip(hits, union, strict=True)]
    assert list(result["per_class"].values()) == pytest.approx(ious)
    there = [one for one in ious if one is not None]
    assert result["miou"] == pytest.approx(sum(there) / len(there))
    assert result["pixel_accuracy"] == pytest.approx(100 * hits.sum() / expected.sum())
    assert content["images"] == 5 and content["pixels"] == result["pixels"] == expected.sum()

    shown = capsys.readouterr().out
    assert "0 missing, 5 unused" in shown or "unused, not needed: aux_classifier" in shown
    assert "published 66.4 mIoU and 92.4 pixel accuracy with its own weights" in shown


def test_padding_scales_and_flips_too(resnet50, voc, tmp_path):
    network, weights = resnet50
    content = run(
        tmp_path, voc, "--model", "torchvision:deeplabv3_resnet50", "--weights", str(weights),
        "--crop-size", "57", "--scales", "0.75,1.25", "--flip", "--no-cache",
    )  # fmt: skip
    [result] = content["results"]
    expected = plain_loop(network, voc, crop=57, scales=(0.75, 1.25), flip=True)
    # Sums over batches and single images round differently: a pixel may tip over.
    assert np.abs(np.array(result["confusion"]) - expected).sum() <= 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished training's record, the weights spread so that predictions vary."""
    network = small_network(head="aspp", atrous_rates=(2, 4))
    model = build(network, 21, 16, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.classifier.weight.mul_(100)
    store = Store(tmp_path_factory.mktemp("results") / "smoke")
    store.prepare()
    config = {
        "network": network.model_dump(mode="json"),
        "stage": small_stage().model_dump(mode="json"),
    }
    step = Step(kind="train", config=config, parent=None)
    facts = {"classes": list(VOC_CLASSES)}
    write_tensors(store.begin(step) / "weights.safetensors", model.state_dict(), facts)
    store.finish(step, {"status": "done"})
    return store, step


def test_a_record_of_ours_scores_as_in_a_run(trained, voc, tmp_path):
    store, training = trained
    strategies = [
        Evaluation(data="voc", split="val", output_stride=s, crop_size=33, scales=m, flip=f)
        for s, m, f in ((16, (1.0,), False), (8, (0.5, 1.0, 1.5), True))
    ]
    steps = [
        Step(
            kind="evaluate",
            config={
                "network": training.config["network"],
                "evaluation": one.model_dump(mode="json"),
            },
            parent=training.id,
        )
        for one in strategies
    ]
    context = Context(
        store=store,
        sources=Sources.of({}, {"voc": str(voc)}),
        device="cpu",
        threads=1,
        checkpoint_seconds=60,
        weights={},
        progress=lambda done, total, facts: None,
        should_stop=lambda: False,
    )
    run_job(steps, context)
    content = run(
        tmp_path, voc, "--model", f"record:{store.path(training.id)}", "--crop-size", "33",
        "--output-stride", "16", "--output-stride", "8", "--scales", "1", "--scales", "0.5,1,1.5",
        "--flip", "both",
    )  # fmt: skip
    assert len(content["results"]) == 8 and content["align_corners"] is True
    found = {
        (one["output_stride"], tuple(one["scales"]), one["flip"]): one for one in content["results"]
    }
    predicted = np.sum(content["results"][0]["confusion"], 0)
    assert predicted.max() < 0.8 * predicted.sum(), "the predictions must vary"
    for step, one in zip(steps, strategies, strict=True):
        outcome = store.outcome(step.id)
        ours = found[one.output_stride, one.scales, one.flip]
        for key in ("miou", "per_class", "pixels"):
            assert ours[key] == outcome[key]
        assert content["images"] == outcome["images"]


def test_a_record_is_not_scored_on_what_it_was_trained_on(trained, voc, capsys):
    store, training = trained
    given = ["--model", f"record:{store.path(training.id)}", "--data", f"voc={voc}"]
    for split in ("train", "trainval"):
        assert main([*given, "--split", split]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "trained on voc train, which holds 2 of the" in line and training.id in line


def test_a_closed_pipe_does_not_cost_the_files(trained, voc, tmp_path, monkeypatch):
    def closed(*given):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("replication.render.scores.terminal", closed)
    store, training = trained
    given = ["--model", f"record:{store.path(training.id)}", "--data", f"voc={voc}"]
    file = tmp_path / "scores.json"
    assert main([*given, "--crop-size", "33", "--limit", "1", "--json", str(file)]) == 2
    assert json.loads(file.read_text())["images"] == 1


@pytest.fixture
def guess(tmp_path, monkeypatch):
    """Somebody's module in the current folder: the class is the brightest channel's number."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guess.py").write_text(
        "import torch\n"
        "def brightest():\n"
        "    low = lambda x: x.new_full((len(x), 18, *x.shape[2:]), -9.0)\n"
        "    return lambda x: {'out': torch.cat([x, low(x)], 1)[:, :, ::2, ::2]}\n"
        "def wrong():\n"
        "    return lambda x: x.mean(1)\n"
        "def few():\n"
        "    return lambda x: x.repeat(1, 6, 1, 1)\n"
    )
    yield "guess"
    sys.modules.pop("guess", None)


def test_a_function_of_ones_own_with_a_panel(guess, voc, tmp_path):
    content = run(
        tmp_path, voc, "--model", "guess:brightest", "--limit", "3", "--crop-size", "33",
        "--panel", str(tmp_path / "panel.png"), "--panel-ids", "v3,v1",
    )  # fmt: skip
    assert content["images"] == 3 and content["results"][0]["output_stride"] is None
    confusion = np.array(content["results"][0]["confusion"])
    assert confusion[:, :3].any() and not confusion[:, 3:].any()
    with Image.open(tmp_path / "panel.png") as file:
        assert file.format == "PNG" and file.width > 600


def test_images_resized_to_the_crop(guess, voc, tmp_path):
    model = ["--model", "guess:brightest", "--crop-size", "49"]
    padded = run(tmp_path, voc, *model)
    resized = run(tmp_path, voc, *model, "--whole-image", "resized")
    assert (padded["whole_image"], resized["whole_image"]) == ("padded", "resized")
    assert padded["pixels"] == resized["pixels"]
    assert padded["results"][0]["confusion"] != resized["results"][0]["confusion"]


def test_every_picture_of_the_panel_has_its_own_prediction(guess, voc, tmp_path, monkeypatch):
    """Drawn from batches, at each picture's own size, in the order asked for."""
    rows = []
    monkeypatch.setattr("replication.render.panel.panel", lambda given, *rest: rows.extend(given))
    model = ["--model", "guess:brightest", "--crop-size", "70"]
    content = run(tmp_path, voc, *model, "--panel", str(tmp_path / "panel.png"))
    total = np.zeros((21, 21), int)
    for id_, row in zip(VAL, rows, strict=True):
        assert row.truth.shape == row.prediction.shape == row.photograph.shape[:2] == SIZES[id_]
        valid = row.truth != 255
        np.add.at(total, (row.truth[valid], row.prediction[valid]), 1)
    assert np.array_equal(total, content["results"][0]["confusion"])


GUESS = ["--model", "guess:brightest"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "guess:wrong"], "guess:wrong gave float32 (1, 513, 513) for (1, 3, 513, 513)"),
        (["--model", "guess:few"], "gives logits of 18 classes, and the set has 21"),
        (["--model", "gues:few"], "No module named 'gues'"),
        (["--model", "torchvision:deeplabv3_resnet50"], "give --weights FILE"),
        (["--model", "torchvision:deeplabv3_resnet", "--random"], '"deeplabv3_resnet50"'),
        ([*GUESS, "--output-stride", "8"], "only record: models let it be chosen"),
        ([*GUESS, "--output-stride", "12"], "power of two"),
        ([*GUESS, "--crop-size", "0", "--whole-image", "resized"], "give the size to resize to"),
        ([*GUESS, "--scales", "1,1"], "--scales 1,1: must be different numbers"),
        ([*GUESS, "--scales", "0.5;1"], "must be different numbers above 0 and up to 4"),
        ([*GUESS, "--scales", "nan"], "must be different numbers above 0 and up to 4"),
        ([*GUESS, "--crop-size", "5"], "--crop-size 5: must be 0"),
        ([*GUESS, "--limit", "0"], "--limit 0"),
        ([*GUESS, "--split", "tset"], "no such split"),
        ([*GUESS, "--panel", "p.jpg"], "must be a .png"),
        ([*GUESS, "--panel-ids", "v1"], "goes with --panel"),
        ([*GUESS, "--panel", "p.png", "--panel-ids", "v9"], "'v9' is not in val"),
        ([*GUESS, "--panel", "p.png", "--panel-ids", "v5", "--limit", "2"], "(with --limit 2)"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_status_2(guess, voc, tmp_path, capsys, arguments, words):
    before = sorted(tmp_path.iterdir())
    assert main([*arguments, "--data", f"voc={voc}", "--json", "scores.json"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
    assert not [p for p in tmp_path.iterdir() if p not in before and p.name != "__pycache__"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (["val"], "must be ROLE=PATH"),
        (["imagenet=."], "must be ROLE=PATH"),
        (["voc="], "must be ROLE=PATH"),
        (["voc=nowhere"], "nowhere: no such folder"),
        (["voc=.", "coco=."], "one set at a time"),
    ],
)
def test_data_mistakes_are_one_line(guess, capsys, data, words):
    assert main([*GUESS, *(word for one in data for word in ("--data", one))]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_set_of_void_is_no_number(guess, tmp_path, capsys):
    home = tmp_path / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / part).mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(home / "JPEGImages/a.jpg")
    write_mask(home / "SegmentationClass/a.png", np.full((20, 20), 255))
    (home / "ImageSets/Segmentation/val.txt").write_text("a\n")
    assert main([*GUESS, "--data", f"voc={tmp_path}", "--crop-size", "0"]) == 2
    assert "no labelled pixel" in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; import replication.evaluate;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'scipy', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE).returncode == 0
