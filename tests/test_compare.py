"""Two cells compared: on records with counts that are known, and on those of a real run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from replication.compare import main, parser
from replication.execute import Context, run_job
from replication.metrics import mean_iou
from replication.planned import planned
from replication.runs import Step, Store
from replication.statistics import student_t

HERE = Path(__file__).resolve().parents[1]
CLASSES = ("background", "cow", "horse", "sheep", "unicorn")
A, B = "table4/os8", "table4/os16"


def counts(seed: int, cow: float = 0.6, images: int = 120) -> np.ndarray:
    """Masks from one generator, predictions from another: the truth is the same for every seed."""
    truth, random = np.random.default_rng(0), np.random.default_rng(seed)
    result = np.zeros((images, 5, 5), dtype=np.int32)
    for i in range(images):
        holds = truth.random(4) < (1.0, 0.4, 0.3, 0.2)
        pixels = truth.integers(100, 400, 4) * holds
        for c in range(4):
            right = random.binomial(pixels[c], (0.9, cow, 0.5, 0.4)[c])
            result[i, c, c] = right
            result[i, c, (c + 1) % 4] = pixels[c] - right
    return result


def put(
    store: Store, step: Step, confusion: np.ndarray, *, ids=None, classes=CLASSES, **outcome
) -> None:
    """A finished evaluation with these counts."""
    folder = store.begin(step)
    save_file({"confusion": confusion}, folder / "counts.safetensors")
    ids = ids or [f"image-{i:04d}" for i in range(len(confusion))]
    (folder / "images.txt").write_text("\n".join(ids) + "\n")
    total = confusion.sum(0, dtype=np.int64)
    facts = {
        "status": "done", "miou": mean_iou(total), "per_class": dict.fromkeys(classes, 1.0),
        "images": len(confusion), "pixels": int(total.sum()),
    }  # fmt: skip
    store.finish(step, {**facts, **outcome})


def steps(results: Path, cell: str, seeds: int) -> list[Step]:
    options = [A, B, "--tier", "smoke", "--results", str(results), "--seeds", str(seeds)]
    where = planned(parser().parse_args(options))
    where.store.prepare()
    return [run.evaluation for run in where.plan(cells=[cell]).runs if run.evaluation]


def evaluated(results: Path, seeds: int = 3, **changes) -> Path:
    """os8 is better at cows than os16 by about 20 points, and at nothing else."""
    store = Store(results / "smoke")
    for cell, cow, first in ((A, 0.8, 10), (B, 0.6, 20)):
        extra = changes if cell == A else {}
        for seed, step in enumerate(steps(results, cell, seeds)):
            put(store, step, extra.get("confusion", counts(first + seed, cow)),
                **{k: v for k, v in extra.items() if k != "confusion"})  # fmt: skip
    return results


def run(results: Path, *arguments: str, a: str = A, b: str = B) -> int:
    return main([a, b, "--tier", "smoke", "--results", str(results), *arguments])


def said(results: Path, capsys, *arguments: str, **sides: str) -> str:
    """The one line of a refusal."""
    assert run(results, *arguments, **sides) == 2
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert "Traceback" not in line and not captured.out
    return line


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("results"))


def test_both_errors_stand_beside_each_other(three, tmp_path, capsys) -> None:
    assert run(three, "--seeds", "3", "--json", str(tmp_path / "c.json")) == 0
    out = capsys.readouterr().out
    a, b = (
        [mean_iou(counts(first + seed, cow).sum(0)) for seed in range(3)]
        for first, cow in ((10, 0.8), (20, 0.6))
    )
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["a"]["miou_by_seed"] == pytest.approx(a, rel=1e-12)
    assert found["b"]["miou"] == pytest.approx(mean(b))
    assert found["a"]["deviation_over_seeds"] == pytest.approx(stdev(a))
    differences = [one - other for one, other in zip(a, b, strict=True)]
    assert found["difference"]["value"] == pytest.approx(mean(differences))
    error = stdev(differences) / 3**0.5
    assert found["error_from_seeds"] == pytest.approx(error)
    assert found["over_seeds"]["high"] == pytest.approx(
        mean(differences) + student_t(0.975, 2) * error
    )
    images = found["difference"]["error_from_images"]
    assert found["error_from_both"] == pytest.approx((error**2 + images**2) ** 0.5)
    assert 0 < images < 1.5 * found["a"]["over_images"]["error_from_images"]
    assert found["images"] == 120 and found["draws_lacking_a_class"] == 0.0
    for text in (f"{mean(a):.2f}", f"{stdev(a):.2f} (3 seeds)", f"A − B = {mean(differences):+.2f}",
                 f"From seeds: ± {error:.2f}", f"choice of images: ± {images:.2f}"):  # fmt: skip
        assert text in out


def test_classes_are_sorted_by_what_they_gained(three, tmp_path, capsys) -> None:
    assert run(three, "--seeds", "3", "--json", str(tmp_path / "c.json")) == 0
    classes = json.loads((tmp_path / "c.json").read_text())["classes"]
    values = [one["difference"]["value"] for one in classes[:-1]]
    assert classes[0]["class"] == "cow" and values == sorted(values, reverse=True)
    assert classes[0]["difference"]["low"] > 5
    # What the cows' wrong pixels were called had too large a union.
    assert classes[1]["class"] == "horse" and classes[1]["difference"]["low"] > 0
    others = {one["class"]: one["difference"] for one in classes[2:-1]}
    assert all(one["low"] < 0 < one["high"] for one in others.values())
    assert classes[-1] == {
        "class": "unicorn", "images": 0, "a": None, "b": None, "difference": None,
        "deviation_over_seeds": None,
    }  # fmt: skip
    truth = counts(10).sum(2) > 0
    assert {one["class"]: one["images"] for one in classes} == dict(
        zip(CLASSES, truth.sum(0).tolist(), strict=True)
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {line[0]: line for line in lines if line and line[0] in CLASSES}
    assert list(shown) == [one["class"] for one in classes]
    assert shown["cow"][-2:] == [">", "0"] and shown["sheep"][-2] not in "<>"


def test_turned_round_every_sign_turns(three, tmp_path) -> None:
    run(three, "--json", str(tmp_path / "ab.json"))
    run(three, "--json", str(tmp_path / "ba.json"), a=B, b=A)
    one, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("ab", "ba"))
    assert one["difference"]["value"] == -other["difference"]["value"]
    assert one["difference"]["low"] == pytest.approx(-other["difference"]["high"])
    assert [c["class"] for c in one["classes"][:4]] == [c["class"] for c in other["classes"][3::-1]]


def test_a_single_seed_and_records_by_folder_say_what_is_not_known(three, capsys) -> None:
    assert run(three) == 0
    assert capsys.readouterr().out.count("single seed") == 3
    folders = [three / "smoke" / "steps" / steps(three, cell, 1)[0].id for cell in (A, B)]
    assert run(three, a=str(folders[0]), b=folders[1].name) == 0
    out = capsys.readouterr().out
    assert folders[0].name in out and "From seeds: not known, a single seed" in out
    assert run(three, "--seeds", "3", b=str(folders[1])) == 0
    assert "the two do not have the same seeds" in capsys.readouterr().out


def test_the_plot_shows_every_class_that_occurs(three, tmp_path) -> None:
    for name in ("one.png", "two.png"):
        assert run(three, "--seeds", "3", "--plot", str(tmp_path / name)) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in pixels.tolist()}
    blue, red, grey = (0x21, 0x66, 0xAC), (0xB2, 0x18, 0x2B), (0xBD, 0xBD, 0xBD)
    assert {blue, grey} <= colours and red not in colours


def test_different_images_are_one_line(tmp_path, capsys) -> None:
    ids = [f"image-{i:04d}" for i in range(119)] + ["image-9999"]
    evaluated(tmp_path, 1, ids=ids)
    line = said(tmp_path, capsys)
    assert "different image lists (120 and 120 images, 119 in common" in line
    shutil.rmtree(tmp_path / "smoke")
    evaluated(tmp_path, 1, ids=[f"image-{i:04d}" for i in range(120)][::-1])
    assert "the same images in another order" in said(tmp_path, capsys)


def test_different_classes_are_one_line(tmp_path, capsys) -> None:
    evaluated(tmp_path, 1, classes=(*CLASSES[:-1], "griffin"))
    assert "different classes (5 and 5; only one has griffin)" in said(tmp_path, capsys)


def test_different_masks_are_one_line(tmp_path, capsys) -> None:
    confusion = counts(10)
    confusion[7, 0, 0] += 1
    evaluated(tmp_path, 1, confusion=confusion)
    assert "different masks (1 images, such as image-0007)" in said(tmp_path, capsys)


def test_a_missing_record_is_one_line_with_the_command(three, tmp_path, capsys) -> None:
    line = said(three, capsys, "--seeds", "5")
    assert f"{A} (seeds 3, 4), {B} (seeds 3, 4); run: python -m replication.run" in line
    command = line.partition("run: ")[2]
    assert f"--cell {A} --cell {B} --tier smoke --seeds 5 --results {three}" in command
    lone = said(three, capsys, b="table9/batch4")
    assert "table9/batch4 (seed 0); run:" in lone and A not in lone.partition("run: ")[2]
    # The command is one that the run understands.
    words = command.split()[3:]
    assert subprocess.run(
        [sys.executable, "-m", "replication.run", *words, "--dry-run"], cwd=HERE,
        stdout=subprocess.DEVNULL,
    ).returncode == 0  # fmt: skip


def test_missing_data_are_named_in_the_command(tmp_path, capsys) -> None:
    assert main([A, B, "--tier", "paper", "--results", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--data voc=PATH --weights resnet101=FILE" in line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("table4/os9", 'the nearest known is "table4/os8"'),
        ("table6/no-such-thing-at-all", "neither a cell nor the folder of a record"),
        ("table7/pspnet", "another group's number"),
        ("/no/such/folder", "neither a cell nor the folder of a record"),
    ],
)
def test_what_cannot_be_compared_is_one_line(three, capsys, name, text) -> None:
    assert text in said(three, capsys, b=name)


def test_one_evaluation_under_two_names_is_one_line(three, capsys) -> None:
    assert "are the same evaluation (evaluate-" in said(three, capsys, a="table3/mg121-block7", b=B)


def test_a_training_that_failed_is_one_line(tmp_path, capsys) -> None:
    evaluated(tmp_path, 1)
    options = [A, B, "--tier", "smoke", "--results", str(tmp_path)]
    where = planned(parser().parse_args(options))
    [run_] = where.plan(cells=["table9/batch4"]).runs
    where.store.begin(run_.chain[-1])
    where.store.finish(run_.chain[-1], {"status": "failed", "error": "the loss became nan"})
    line = said(tmp_path, capsys, b="table9/batch4")
    assert f"table9/batch4 seed 0: failed: the loss became nan ({run_.chain[-1].id})" in line


def test_damaged_counts_are_one_line(tmp_path, capsys) -> None:
    evaluated(tmp_path, 1)
    file = tmp_path / "smoke/steps" / steps(tmp_path, A, 1)[0].id / "counts.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    line = said(tmp_path, capsys)
    assert f"{file}: damaged" in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--resamples", "10"], "--resamples 10: must be at least 100"),
        (["--plot", "x.pdf"], "--plot x.pdf: must end in .png"),
        (["--seeds", "0"], "--seeds 0: must be at least 1"),
        (["--data", "voc"], "--data voc: must be ROLE=PATH"),
    ],
)
def test_wrong_options_are_one_line(three, capsys, arguments, text) -> None:
    assert text in said(three, capsys, *arguments)


def test_it_does_not_need_torch(three, tmp_path) -> None:
    code = (
        "import sys; from replication.compare import main; "
        f"assert main(['{A}', '{B}', '--tier', 'smoke', '--results', '{three}', "
        f"'--plot', '{tmp_path / 'p.png'}']) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True, stdout=subprocess.DEVNULL)


def test_the_records_of_a_real_run(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    options = [A, B, "--tier", "smoke", "--results", str(tmp_path)]
    where = planned(parser().parse_args(options))
    where.store.prepare()
    context = Context(
        store=where.store, sources=where.sources, device="cpu", threads=1, weights={},
        checkpoint_seconds=60.0, progress=lambda done, total, facts: None,
        should_stop=lambda: False,
    )  # fmt: skip
    plan = where.plan(cells=[A, B])
    for step in plan.of_kind("pretrain", "train"):
        run_job([step], context)
    run_job(plan.of_kind("evaluate"), context)
    assert main([*options, "--json", str(tmp_path / "c.json")]) == 0
    found = json.loads((tmp_path / "c.json").read_text())
    for side, cell in (("a", A), ("b", B)):
        folder = tmp_path / "smoke/steps" / steps(tmp_path, cell, 1)[0].id
        outcome = json.loads((folder / "outcome.json").read_text())
        assert found[side]["miou"] == pytest.approx(outcome["miou"], rel=1e-12)
        assert found["images"] == outcome["images"]
    # Eight images, and classes that are on one of them.
    assert "of the draws lack a class" in capsys.readouterr().out
