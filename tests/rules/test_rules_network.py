"""Rules on networks, BN and geometry: silent on what holds, each fires on a planted fault."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torchvision.models import resnet50

from replication.network import geometry as network_geometry
from replication.protocol import Network
from replication.rules import batch_norm, geometry
from replication.rules.geometry import Convolution
from tests.conftest import full_network, small_network, small_stage

ASPP = {"head": "aspp", "atrous_rates": (6, 12, 18), "image_pooling": True}


def texts(deviations: list) -> str:
    return "\n".join(f"{one.value} / {one.expected}" for one in deviations)


# Batch normalisation.


def norm(*layers: str, value: float = 0.5, batches: int = 100) -> dict[str, np.ndarray]:
    tensors = {}
    for layer in layers:
        for kind in (*batch_norm.STATISTICS, *batch_norm.GAINS):
            tensors[f"{layer}.{kind}"] = np.full(4, value, dtype=np.float32)
        tensors[f"{layer}.{batch_norm.COUNTER}"] = np.array(batches)
    return tensors


LAYERS = ("backbone.stem.bn", "backbone.block1.0.bn1", "aspp.project.1")
HEAD = LAYERS[2]


def after(gains_too: bool = False) -> dict[str, np.ndarray]:
    """Ten iterations with all but the head frozen: only what is trained has moved."""
    end = norm(*LAYERS)
    for layer in LAYERS:
        moving = [] if gains_too and layer != HEAD else list(batch_norm.GAINS)
        if layer == HEAD:
            moving += batch_norm.STATISTICS
            end[f"{layer}.{batch_norm.COUNTER}"] = np.array(110)
        for kind in moving:
            end[f"{layer}.{kind}"] = end[f"{layer}.{kind}"] + np.float32(1e-4)
    return end


def held(end: dict[str, np.ndarray], *, gains_too: bool = False, frozen=LAYERS[:2]) -> str:
    return texts(
        batch_norm.batch_norm(norm(*LAYERS), end, frozen=frozen, gains_too=gains_too, iterations=10)
    )


@pytest.mark.parametrize("gains_too", [False, True])
def test_what_froze_and_trained_as_it_should_is_silent(gains_too: bool) -> None:
    assert held(after(gains_too), gains_too=gains_too) == ""


def test_frozen_statistics_that_move_by_one_bit() -> None:
    end = after()
    mean = end[f"{LAYERS[1]}.running_mean"]
    mean[2] = np.nextafter(mean[2], np.float32(1))
    said = held(end)
    assert "statistics of 1 of 2 frozen layers moved" in said and LAYERS[1] in said


def test_frozen_gains_move_only_where_statistics_alone_are_frozen() -> None:
    assert "gamma or beta of 2 of 2 frozen layers moved" in held(after(), gains_too=True)
    assert "gamma and beta of 2 of 3 trained layers did not move" in held(after(gains_too=True))


def test_a_freeze_that_was_not_asked_for() -> None:
    said = held(after(), frozen=())
    assert "statistics of 2 of 3 trained layers did not move" in said
    assert "2 of 3 trained layers counted other batches (0 by" in said and "/ 10" in said


def test_batches_counted_are_the_iterations() -> None:
    end = after()
    end[f"{HEAD}.{batch_norm.COUNTER}"] = np.array(109)
    assert held(end) == f"1 of 1 trained layers counted other batches (9 by {HEAD}) / 10"
    end = after()
    end[f"{LAYERS[0]}.{batch_norm.COUNTER}"] = np.array(110)
    assert "1 of 2 frozen layers counted other batches (10 by" in held(end)


def test_what_a_first_stage_starts_from() -> None:
    """block5 copies block4, its last gain scaled; what nothing was loaded into is fresh."""
    names = ("backbone.block4.1.bn3", "backbone.block5.1.bn3", "aspp.project.1")
    begin = batch_norm.start(
        norm(*names), norm("backbone.block4.1.bn3", value=0.8), extra_block_gamma=0.5
    )
    assert begin.fresh == {"aspp.project.1"}
    copied = {k: begin.tensors[f"{names[1]}.{k}"] for k in ("weight", "bias", "running_var")}
    assert (copied["weight"] == np.float32(0.4)).all()
    assert (copied["bias"] == np.float32(0.8)).all()
    assert (copied["running_var"] == np.float32(0.8)).all()
    assert begin.tensors["aspp.project.1.running_var"].tolist() == [1.0] * 4
    assert begin.tensors[f"aspp.project.1.{batch_norm.COUNTER}"] == 0


def test_what_a_later_stage_starts_from_is_all_loaded() -> None:
    names = ("backbone.block4.1.bn3", "backbone.block5.1.bn3", "aspp.project.1")
    begin = batch_norm.start(norm(*names), norm(*names, value=0.8), extra_block_gamma=0.5)
    assert not begin.fresh
    for name, tensor in begin.tensors.items():
        assert batch_norm.COUNTER in name or (tensor == np.float32(0.8)).all(), name


@pytest.mark.parametrize(
    ("changes", "planted", "said"),
    [
        ({"batch_norm": "frozen"}, {"frozen": False}, "frozen: False in 1 of"),
        ({"batch_norm": "frozen", "frozen_bn": "all"}, {"gains": True}, "beta trained: True in 1"),
        ({"batch_norm": "trained"}, {"frozen": True}, "frozen: True in 1 of"),
        ({"batch_norm": "trained"}, {"gains": False}, "beta trained: False in 1 of"),
        ({"bn_decay": 0.9997}, {"decay": 0.9}, "decay: 0.9 in 1 of"),
        ({}, {"epsilon": 1e-3}, "epsilon: 0.001 in 1 of"),
    ],
)
def test_batch_norm_is_set_up_as_the_stage_says(changes, planted, said) -> None:
    network, stage = small_network(**ASPP), small_stage(**changes)
    fresh = [name for name in batch_norm.set_up(network, stage, bool) if name.startswith("aspp")]
    found = batch_norm.set_up(network, stage, lambda name: name in fresh)
    assert not batch_norm.prepared(found, network, stage, fresh)
    found["backbone.block2.0.bn2"] = replace(found["backbone.block2.0.bn2"], **planted)
    assert said in texts(batch_norm.prepared(found, network, stage, fresh))


# Geometry.


@pytest.mark.parametrize("first", [("last", "block"), ("first", "block"), ("first", "previous")])
def test_the_closed_form_is_the_network_at_every_configuration(first) -> None:
    options = product((4, 7), ((1, 1, 1), (1, 2, 4)), ("multiply", "replace"), (8, 16, 32, 64, 256))
    for last_block, grid, rule, stride in options:
        network = full_network(
            "resnet50", last_block=last_block, multi_grid=grid, stride_unit=first[0],
            first_unit_rate=first[1], multi_grid_rule=rule,
        ).config()  # fmt: skip
        must = geometry.expected(network, stride)
        for conv in network_geometry.geometry(
            units=network["units"], last_block=last_block, multi_grid=grid, output_stride=stride,
            stride_unit=first[0], first_unit_rate=first[1], multi_grid_rule=rule,
        ):  # fmt: skip
            name = f"backbone.block{conv.block}.{conv.unit - 1}.conv2"
            assert must[name] == Convolution(stride=conv.stride, rate=conv.rate)


@pytest.mark.parametrize(
    ("dilated", "stride"), [((False, False, True), 16), ((False, True, True), 8)]
)
def test_the_closed_form_is_torchvisions(dilated, stride) -> None:
    with torch.device("meta"):
        theirs = resnet50(replace_stride_with_dilation=list(dilated))
    network = full_network("resnet50", stride_unit="first", first_unit_rate="previous")
    must = geometry.expected(network.model_dump(), stride)
    for name, conv in geometry.laid(theirs).items():
        if name.startswith("layer"):
            ours = must.get(f"backbone.{name.replace('layer', 'block')}", Convolution())
            assert conv == ours, name


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("stem", [1, 4])
def test_networks_as_built_are_silent(stride, stem) -> None:
    for network in (
        small_network(**ASPP, multi_grid=(1, 2, 4), stem_stride=stem),
        small_network(last_block=7, multi_grid=(1, 2, 1), stem_stride=stem),
        small_network(**ASPP, multi_grid=(1, 2, 4), multi_grid_rule="replace", stem_stride=stem),
        small_network(**ASPP, atrous_rates_at_32="kept", stem_stride=stem),
    ):
        found = network.config()
        must = geometry.expected(found, stride)
        assert geometry.geometry(geometry.built(found, stride), must) == []
        assert geometry.geometry(geometry.built(found, stride, first=16), must) == []
        read = geometry.from_json(geometry.to_json(geometry.built(found, stride)))
        assert geometry.geometry(read, must) == []


def built(network: Network, stride: int, first: int | None = None) -> str:
    found = network.model_dump(mode="json")
    must = geometry.expected(found, stride)
    return texts(geometry.geometry(geometry.built(found, stride, first=first), must))


def test_a_multi_grid_that_does_not_multiply(monkeypatch) -> None:
    def without(**given):
        return network_geometry.geometry(**{**given, "multi_grid": (1, 1, 1)})

    monkeypatch.setattr("replication.network.resnet.geometry", without)
    said = built(small_network(**ASPP, multi_grid=(1, 2, 4)), 16)
    assert said == (
        "backbone.block4.1.conv2 rate 2, backbone.block4.2.conv2 rate 2 / rate 4, rate 8"
    )


def test_readings_of_the_paper_that_are_not_those_configured() -> None:
    """A network built in one reading is not what the other reading's must be."""
    replacing = small_network(**ASPP, multi_grid=(1, 2, 4), multi_grid_rule="replace")
    must = geometry.expected(small_network(**ASPP, multi_grid=(1, 2, 4)).config(), 16)
    assert texts(geometry.geometry(geometry.built(replacing.config(), 16), must)) == (
        "backbone.block4.0.conv2 rate 1, backbone.block4.1.conv2 rate 2, "
        "backbone.block4.2.conv2 rate 4 / rate 2, rate 4, rate 8"
    )
    keeping = geometry.expected(small_network(**ASPP, atrous_rates_at_32="kept").config(), 32)
    halving = geometry.built(small_network(**ASPP).config(), 32)
    assert texts(geometry.geometry(halving, keeping)) == (
        "aspp.branches.1.0 rate 3, aspp.branches.2.0 rate 6, aspp.branches.3.0 rate 9 / "
        "rate 6, rate 12, rate 18"
    )


def test_aspp_rates_that_are_not_doubled_at_output_stride_8(monkeypatch) -> None:
    monkeypatch.setattr("replication.network.deeplab.aspp_rates", lambda rates, *_: tuple(rates))
    network = small_network(**ASPP)
    assert built(network, 16) == ""
    for first in (None, 16):
        assert "aspp.branches.3.0 rate 18 / rate 12, rate 24, rate 36" in built(network, 8, first)


def test_aspp_rates_that_stay_when_the_stride_is_set(monkeypatch) -> None:
    monkeypatch.setattr("replication.network.aspp.ASPP.set_rates", lambda self, rates: None)
    assert built(small_network(**ASPP), 8) == ""
    assert "aspp.branches.1.0 rate 6" in built(small_network(**ASPP), 8, first=16)


def test_a_dilation_on_the_wrong_convolution(monkeypatch) -> None:
    from replication.network.resnet import Unit

    right = Unit.set_geometry

    def wrong(unit, conv):
        right(unit, replace(conv, rate=1))
        unit.conv1.dilation = (conv.rate, conv.rate)

    monkeypatch.setattr(Unit, "set_geometry", wrong)
    said = built(small_network(), 16)
    assert "backbone.block4.0.conv1 rate 2" in said and "block4.0.conv2 rate 1" in said


def test_a_stride_in_the_wrong_unit() -> None:
    network = small_network(units=(2, 2, 2, 3), stride_unit="first").model_dump(mode="json")
    must = geometry.expected({**network, "stride_unit": "last"}, 16)
    said = texts(geometry.geometry(geometry.built(network, 16), must))
    assert "backbone.block1.1.conv2 rate 1 / rate 1 stride 2" in said


def test_a_network_that_lacks_a_block() -> None:
    network = small_network().model_dump(mode="json")
    must = geometry.expected({**network, "last_block": 5}, 16)
    assert "no backbone.block5.0.conv2" in texts(
        geometry.geometry(geometry.built(network, 16), must)
    )
