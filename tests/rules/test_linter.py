"""The linter on records of real, tiny trainings: silent on them, and what it says of tampered ones.

Three chains at the smoke tier: Table 4's (block7, two inference strategies), Table 8's without BN
(frozen from the pretrained backbone) and Table 7's (three stages, the last with BN frozen).
"""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from replication import training
from replication.execute import run_job
from replication.metrics import mean_iou
from replication.rules.linter import Linter, findings
from replication.runs import Step, Store
from tests.rules.lint_samples import (
    context,
    data_cache,
    edit_json,
    edit_tensors,
    evaluation,
    folder,
    found_in,
    only,
    replicate,
    step,
    where,
)

CELLS = ("table4/os16", "table4/os8", "table8/crop513-ul", "table7/deeplabv3")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    yield from data_cache(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache) -> Path:
    results = tmp_path_factory.mktemp("results")
    found = where(results)
    replicate(found, found.plan(cells=CELLS))
    return results


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results"))


def test_untouched_records_have_no_findings(finished) -> None:
    linter = Linter(Store(finished / "smoke"), sources=where(finished).sources)
    examined = [linter.examine(path.name) for path in (finished / "smoke/steps").iterdir()]
    assert len(examined) == 10
    assert not [str(finding) for one in examined for finding in one.findings]
    by_kind = {one.step.split("-")[0]: one for one in examined}
    log = ("learning rate", "iterations")
    assert by_kind["pretrain"].applied == ("configuration", "geometry", "batch norm", *log)
    assert by_kind["train"].applied == ("configuration", "geometry", "batch norm", *log)
    assert set(by_kind["evaluate"].applied) >= {
        "geometry", "evaluation size", "pixels", "masks", "score", "unseen",
    }  # fmt: skip
    assert not any(one.lacking for one in examined)
    together = linter.examine(evaluation(finished, "table4/os8").id)
    assert "one truth" in together.applied


# Batch normalisation.


def test_frozen_statistics_that_moved(copy) -> None:
    frozen = step(copy, "table7/deeplabv3")
    assert frozen.config["stage"]["batch_norm"] == "frozen"

    def move(tensors):
        tensors["backbone.block2.0.bn1.running_var"][3] *= 1.001

    edit_tensors(folder(copy, frozen) / "weights.safetensors", move)
    said = only(found_in(copy, frozen), "batch norm")
    assert "statistics of 1 of" in said and "(backbone.block2.0.bn1)" in said


def test_trained_layers_that_did_not_move(copy) -> None:
    trained = step(copy, "table7/deeplabv3", -2)
    before = load_file(copy / "smoke/steps" / str(trained.parent) / "weights.safetensors")

    def freeze(tensors):
        for name in tensors:
            if ".bn" in name:
                tensors[name] = before[name]

    edit_tensors(folder(copy, trained) / "weights.safetensors", freeze)
    said = only(found_in(copy, trained), "batch norm")
    assert "trained layers did not move" in said and "counted other batches (0 by" in said


@pytest.mark.parametrize("cell", ["table8/crop513-ul", "table7/deeplabv3"])
def test_a_freeze_that_does_nothing(copy, monkeypatch, cell) -> None:
    """The training itself is run again with the fault."""
    right = training.set_batch_norm
    frozen = step(copy, cell)
    shutil.rmtree(folder(copy, frozen))
    monkeypatch.setattr(
        training, "set_batch_norm",
        lambda model, **given: right(model, **{**given, "frozen": False}),
    )  # fmt: skip
    run_job([frozen], context(where(copy)))
    said = only(found_in(copy, frozen), "batch norm")
    assert "frozen layers moved, by up to" in said
    [before] = [one for one in before_training(copy, cell) if one.step == frozen.id]
    assert "frozen: False in" in only(list(before.findings), "batch norm")


def before_training(results: Path, cell: str):
    found = where(results)
    return Linter(found.store, sources=found.sources).before(found.plan(cells=[cell]))


def test_gains_that_were_to_be_frozen_too(copy, monkeypatch) -> None:
    """Statistics alone frozen, where the configuration says all."""
    chain = step(copy, "table7/deeplabv3", -2), step(copy, "table7/deeplabv3")
    stage = {**chain[1].config["stage"], "frozen_bn": "all"}
    every = Step(kind="train", config={**chain[1].config, "stage": stage}, parent=chain[0].id)
    run_job([every], context(where(copy)))
    assert found_in(copy, every) == []
    shutil.rmtree(folder(copy, every))
    right = training.set_batch_norm
    monkeypatch.setattr(
        training, "set_batch_norm",
        lambda model, **given: right(model, **{**given, "gains_too": False}),
    )  # fmt: skip
    run_job([every], context(where(copy)))
    said = only(found_in(copy, every), "batch norm")
    assert "gamma or beta of" in said and "frozen layers moved" in said


def test_published_weights_are_what_a_chain_without_pretraining_starts_from(copy, tmp_path) -> None:
    """The pretrained backbone as a file with torchvision's names, in the published one's place."""
    frozen = step(copy, "table8/crop513-ul")
    state = load_file(copy / "smoke/steps" / str(frozen.parent) / "weights.safetensors")
    theirs = {}
    for name, tensor in state.items():
        if name.startswith("backbone."):
            name = name.removeprefix("backbone.").replace("stem.conv", "conv1")
            name = name.replace("stem.bn", "bn1").replace("block", "layer")
            theirs[name] = torch.from_numpy(tensor)
    file = tmp_path / "resnet.pth"
    torch.save(theirs, file)
    initial = {"backbone": "resnet101", "sha256": sha256(file.read_bytes()).hexdigest()}
    own = Step(kind="train", config={**frozen.config, "initial": initial}, parent=None)
    found = where(copy)
    run_job([own], context(found, {"resnet101": file}))
    assert findings(found.store, own, weights={"resnet101": file}) == []
    lacking = Linter(found.store).examine(own.id).lacking["batch norm"]
    assert lacking.startswith("--weights resnet101=FILE with the sha256")
    theirs["bn1.running_mean"] += 1e-3
    torch.save(theirs, file)
    assert "batch norm" in Linter(found.store, weights={"resnet101": file}).examine(own.id).lacking


# Logs and outcomes.


@pytest.mark.parametrize("iteration", [1, 2])
def test_a_learning_rate_that_is_not_polys(copy, iteration) -> None:
    trained = step(copy, "table4/os8")
    file = folder(copy, trained) / "log.jsonl"
    log = [json.loads(line) for line in file.read_text().splitlines()]
    assert [entry["iteration"] for entry in log] == [1, 2]
    log[iteration - 1]["learning_rate"] *= 1.01
    file.write_text("".join(json.dumps(entry) + "\n" for entry in log))
    assert f"at iteration {iteration}" in only(found_in(copy, trained), "learning rate")


def test_iterations_that_were_not_done(copy) -> None:
    trained = step(copy, "table4/os8")
    edit_json(folder(copy, trained) / "outcome.json", iterations=1)
    said = only(found_in(copy, trained), "iterations")
    assert said == "iterations: the outcome ends at iteration 1; expected: 2"


def test_a_training_that_stopped_early_and_says_it_did_not(copy) -> None:
    """Only the BN layers' own counters know."""
    trained = step(copy, "table4/os8")

    def fewer(tensors):
        for name in tensors:
            if name.endswith("num_batches_tracked"):
                tensors[name] = np.array(tensors[name] - 1)

    edit_tensors(folder(copy, trained) / "weights.safetensors", fewer)
    said = only(found_in(copy, trained), "batch norm")
    assert "trained layers counted other batches (1 by" in said and "expected: 2" in said


def test_a_configuration_that_was_edited(copy) -> None:
    trained = step(copy, "table4/os8")
    file = folder(copy, trained) / "config.json"
    config = json.loads(file.read_text())
    config["config"]["seed"] = 1
    file.write_text(json.dumps(config))
    assert "config.json is train-" in only(found_in(copy, trained), "configuration")


# Geometry.


@pytest.mark.parametrize("cell", ["table4/os8", "table8/crop513-ul"])
def test_a_multi_grid_that_does_not_multiply(copy, monkeypatch, cell) -> None:
    """Before a training; and of a record that does not say its geometry, as this code builds it."""
    from replication.network.geometry import geometry

    monkeypatch.setattr(
        "replication.network.resnet.geometry",
        lambda **given: geometry(**{**given, "multi_grid": (1, 1, 1)}),
    )
    for of in (step(copy, cell), evaluation(copy, cell)):
        assert found_in(copy, of) == []  # it says how it was laid, and was laid well
        (folder(copy, of) / "geometry.json").unlink()
        said = only(found_in(copy, of), "geometry")
        assert "backbone.block4.1.conv2 rate" in said
    [*_, first, last] = before_training(copy, cell)
    assert {finding.rule for finding in (*first.findings, *last.findings)} == {"geometry"}


def test_aspp_rates_that_are_not_doubled(copy, monkeypatch) -> None:
    monkeypatch.setattr("replication.network.deeplab.aspp_rates", lambda rates, *_: tuple(rates))
    frozen = step(copy, "table7/deeplabv3")
    assert frozen.config["stage"]["output_stride"] == 8
    # At output stride 16 they are what they are.
    before = step(copy, "table7/deeplabv3", -2)
    for of in (frozen, before):
        (folder(copy, of) / "geometry.json").unlink()
    assert "aspp.branches.1.0 rate 3" in only(found_in(copy, frozen), "geometry")
    assert found_in(copy, before) == []


def test_a_record_that_holds_its_geometry_is_held_to_that(copy) -> None:
    from replication.rules import geometry

    trained = step(copy, "table8/crop513-ul")
    layout = geometry.built(trained.config["network"], 16)
    file = folder(copy, trained) / "geometry.json"
    assert json.loads(file.read_text()) == geometry.to_json(layout)
    assert found_in(copy, trained) == []
    edit_json(file, **{"aspp.branches.2.0": [1, 3]})
    assert "aspp.branches.2.0 rate 3" in only(found_in(copy, trained), "geometry")


# Evaluations.


def test_images_that_are_missing_from_the_list(copy) -> None:
    file = folder(copy, evaluation(copy, "table4/os8")) / "images.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    found = found_in(copy, evaluation(copy, "table4/os8"))
    assert {one.rule for one in found} == {"evaluation size", "one truth"}
    assert "the outcome 8, images.txt 7, the counts 8" in str(found[0])


def test_counts_with_a_pixel_too_many(copy) -> None:
    of = evaluation(copy, "table4/os8")

    def add(tensors):
        tensors["confusion"][2, 0, 1] += 1

    edit_tensors(folder(copy, of) / "counts.safetensors", add)
    found = found_in(copy, of)
    assert [one.rule for one in found if "1 of 8 images" in one.value] == ["masks"]
    assert {one.rule for one in found} >= {"pixels", "masks", "score", "one truth"}
    # Three evaluations of the split, of which this one is alone.
    assert found_in(copy, evaluation(copy, "table4/os16")) == []


def test_void_counted_as_background(copy, monkeypatch) -> None:
    """The evaluation itself is run again with the fault, in all the numbers that it writes."""
    from replication import evaluation as evaluating

    right = evaluating.count
    of = evaluation(copy, "table8/crop513-ul")
    shutil.rmtree(folder(copy, of))
    monkeypatch.setattr(
        evaluating, "count",
        lambda predicted, masks, classes: right(predicted, masks.masked_fill(masks == 255, 0),
                                                classes),
    )  # fmt: skip
    run_job([of], context(where(copy)))
    assert "pixels that are not void" in only(
        [one for one in found_in(copy, of) if one.rule != "one truth"], "masks"
    )


def test_miou_averaged_over_images(copy) -> None:
    of = evaluation(copy, "table4/os8")
    counts = load_file(folder(copy, of) / "counts.safetensors")["confusion"]
    mean = float(np.mean([mean_iou(one) for one in counts]))
    edit_json(folder(copy, of) / "outcome.json", miou=mean)
    assert f"mIoU {mean}" in only(found_in(copy, of), "score")


def test_a_val_id_in_training(copy) -> None:
    of = evaluation(copy, "table4/os8")
    ids = (folder(copy, of) / "images.txt").read_text().split()
    trained = step(copy, "table4/os8")
    # What a training's record may hold; without it, the data's own lists are asked.
    (folder(copy, trained) / "images.txt").write_text(f"lone-1\n{ids[3]}\nlone-2\n")
    said = only(found_in(copy, of), "unseen")
    assert f"{trained.id} trained on 1 of the 8 images of val ({ids[3]})" in said
    (folder(copy, trained) / "images.txt").write_text("lone-1\nlone-2\n")
    assert found_in(copy, of) == []


def test_without_data_it_says_what_it_lacks(copy) -> None:
    of = evaluation(copy, "table4/os8")
    (folder(copy, step(copy, "table4/os8")) / "images.txt").unlink()
    lacking = Linter(Store(copy / "smoke")).examine(of.id).lacking
    assert lacking["unseen"].startswith("--data voc=PATH") and "masks" in lacking
    shutil.rmtree(folder(copy, step(copy, "table4/os8")))
    found = Linter(Store(copy / "smoke"), sources=where(copy).sources).examine(of.id)
    assert found.lacking == {"unseen": f"the record {of.parent} beside it"}


def test_damage_is_told_once_and_the_other_rules_go_on(copy) -> None:
    of = evaluation(copy, "table4/os8")
    file = folder(copy, of) / "counts.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    assert f"{file}: damaged" in only(found_in(copy, of), "record")
    (folder(copy, of) / "config.json").write_text("{")
    assert "config.json: damaged" in only(found_in(copy, of), "record")
