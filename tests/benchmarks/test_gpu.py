"""The command that measures a GPU, on a CPU and in small: that it runs, and what it counts."""

import json

import pytest
import torch

from benchmarks import gpu
from benchmarks.device import compiled
from benchmarks.device.hours import _rate, all_tables
from benchmarks.device.setting import Setting, rotated
from benchmarks.gpu import main
from benchmarks.networks import CLASSES
from replication.forecast.counting import segmentation
from replication.network.resnet import ResNet
from replication.runs import Step


def test_quick_measures_everything(tmp_path, capsys):
    file = tmp_path / "gpu.json"
    assert main(["--quick", "--device", "cpu", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["quick"] and found["skipped"] == found["failed"] == []
    assert set(found["peaks"]) == {"bf16", "fp32", "copy"}
    [shape] = found["trainings"]
    rows = shape["contestants"]
    assert set(rows) == {"ours bf16", "theirs amp", "ours fp32", "theirs fp32"}
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows.values())
    for pair in shape["ratios"]:
        ours, theirs = rows[pair["ours"]]["seconds"], rows[pair["theirs"]]["seconds"]
        assert pair["ratios"] == [t / o for o, t in zip(ours, theirs, strict=True)]
    # torch's counter here, layer by layer in closed form there.
    setting = Setting.of("cpu", quick=True, budget=1.0)
    counted = segmentation(setting.network("resnet50"), CLASSES, 16, 33, 33).training_flops
    assert shape["gflops_per_image"]["ours"] * 1e9 == pytest.approx(counted, rel=0.01)
    assert set(found["evaluation"]["precisions"]) == {"bf16", "fp32"}
    assert found["determinism"]["fp32"]["same_bits"], "a CPU gives the same bits again"
    assert found["hours"]["fp32"]["trainings"] > 50
    said = capsys.readouterr().out
    assert "no number here is a measurement" in said and "device-hours" not in said


def test_what_the_budget_does_not_hold_is_named(capsys):
    assert main(["--quick", "--device", "cpu", "--budget", "0.001"]) == 0
    said = capsys.readouterr().out
    for what in ("training of resnet50", "evaluation", "deterministic steps", "launching"):
        assert f"not measured: {what}" in said


def test_a_part_that_fails_loses_no_other(tmp_path, monkeypatch, capsys):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried much.\nMore of it.")

    released, kept = [], []
    monkeypatch.setattr(gpu.peaks, "measure", lambda _: {"fp32": 1e12, "copy": 1e9})
    monkeypatch.setattr(gpu.training, "contest", out_of_memory)
    monkeypatch.setattr(gpu.training, "release", released.append)
    monkeypatch.setattr(gpu.inference, "measure", lambda *_: None)
    file = tmp_path / "gpu.json"

    def launching(_):
        kept.append(json.loads(file.read_text()))
        return {"backbone": "resnet50", "seconds": [1.0]}

    monkeypatch.setattr(gpu.training, "determinism", lambda *_: {"backbone": "resnet50"})
    monkeypatch.setattr(gpu.training, "launching", launching)
    assert main(["--quick", "--device", "cpu", "--json", str(file)]) == 1
    said, found = capsys.readouterr().out, json.loads(file.read_text())
    what = "training of resnet50, output stride 16"
    assert found["failed"] == [what] and found["trainings"] == []
    assert found["skipped"] == [f"{what}: CUDA out of memory. Tried much."]
    assert f"not measured: {what}: CUDA out of memory. Tried much." in said
    assert found["launching"]["seconds"] == [1.0] and len(released) == 5
    [before] = kept
    assert before["determinism"] and before["failed"] == [what] and "launching" not in before


def test_where_it_is_to_be_written_is_looked_at_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu.peaks, "measure", lambda _: pytest.fail("measured before"))
    (tmp_path / "file").touch()
    file = tmp_path / "file" / "gpu.json"
    assert main(["--quick", "--device", "cpu", "--json", str(file)]) == 2
    assert "gpu.json: cannot be written" in capsys.readouterr().err


def test_without_a_gpu_it_says_what_to_do(capsys):
    assert main(["--device", "cpu"]) == 2
    assert "no GPU here: give --quick" in capsys.readouterr().err


def test_hours_by_hand():
    """At a petaFLOP a second for all, the hours are the plan's FLOPs; half the rate, twice that."""

    def hours(rate):
        trained = {
            "backbone": "resnet101", "output_stride": 16,
            "contestants": {"ours bf16": {"flops_per_second": rate}},
        }  # fmt: skip
        evaluated = {"precisions": {"bf16": {"flops_per_second": rate}}}
        return all_tables([trained], evaluated)["bf16"]

    once, twice = hours(1e15), hours(5e14)
    assert twice["hours"] == pytest.approx(2 * once["hours"])
    assert once["hours"] == once["training_hours"] + once["evaluation_hours"]
    # 52 trainings of some 30,000 iterations of 16 pictures, of some 0.5 TFLOP each.
    assert 1 < once["training_hours"] / (52 * 30_000 * 16 * 5e11 / 1e15 / 3600) < 5


def test_the_nearest_rate():
    rates = {("resnet101", 16): 1.0, ("resnet50", 16): 2.0, ("resnet101", 8): 3.0}

    def of(backbone, output_stride):
        config = {"network": {"backbone": backbone}, "stage": {"output_stride": output_stride}}
        return _rate(Step(kind="train", config=config, parent=None), rates)

    assert of("resnet50", 16) == of("resnet50", 64) == 2.0
    assert of("resnet50", 8) == 3.0 and of("resnet101", 32) == 1.0


def test_everyone_is_first_once():
    names = ["a", "b", "c"]
    assert [rotated(names, i)[0] for i in range(4)] == ["a", "b", "c", "a"]
    assert all(sorted(rotated(names, i)) == names for i in range(3))


def test_compiled_steps_are_timed_beside_plain_ones(monkeypatch):
    """With nothing compiled, which would take a minute: that both are run, and a failure named."""
    modes = []

    def compile_(self, mode):
        modes.append(mode)
        if mode == "reduce-overhead":
            raise RuntimeError("no graphs here\nat all")

    monkeypatch.setattr(ResNet, "compile", compile_)
    setting = Setting.of("cpu", quick=True, budget=60.0)
    found = compiled.measure(setting, 60.0)
    assert modes == ["default", "reduce-overhead"] and list(found["modes"]) == ["default"]
    assert len(found["modes"]["default"]["ratios"]) == setting.repetitions
    assert setting.skipped == ["compiled steps, reduce-overhead: no graphs here"]
