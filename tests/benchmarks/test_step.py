"""What the training steps are compared with: which networks, at which precision."""

from contextlib import contextmanager

import pytest
import torch
from torchvision.models.segmentation import deeplabv3_resnet50

from benchmarks.networks import UNITS, torchvisions
from benchmarks.speed import step
from benchmarks.speed.step import Case, cases, compare, more_products


def test_at_output_stride_8_theirs_is_torchvisions_own():
    with torch.device("meta"):
        ours = torchvisions(UNITS["resnet50"], 8)
        own = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21)
    shapes = [{n: t.shape for n, t in net.state_dict().items()} for net in (ours, own)]
    assert shapes[0] == shapes[1]
    # The parts with a dilation, by name: their strides and dilations are no weights.
    told = [
        {n: (m.stride, m.dilation) for n, m in net.named_modules() if hasattr(m, "dilation")}
        for net in (ours, own)
    ]
    assert told[0] == told[1]


def test_bf16_is_beside_both_and_aims_at_the_plain_loop(monkeypatch):
    monkeypatch.setattr(step, "has_bf16", lambda: True)
    every = list(cases())
    assert {one.theirs for one in every if one.ours == "fp32"} == {"fp32"}
    half = [one for one in every if one.ours == "bf16"]
    assert [one.theirs for one in half] == ["fp32", "bf16"] * 6
    assert {(one.crop, one.theirs) for one in half if one.aim} == {(513, "fp32")}
    assert [one.crop for one in every if one.backbone == "resnet101"] == [513]
    monkeypatch.setattr(step, "has_bf16", lambda: False)
    assert list(cases()) == [one for one in every if one.ours == "fp32"]


@pytest.mark.parametrize("theirs", ["fp32", "bf16"])
def test_each_side_multiplies_in_its_own_precision(theirs, monkeypatch):
    case = Case(crop=33, batch=2, output_stride=16, ours="bf16", theirs=theirs, aim=3.0)
    dtypes, convolution = [], torch.nn.Conv2d.forward

    def forward(self, x):
        out = convolution(self, x)
        dtypes.append(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    monkeypatch.setattr(step, "keep_memory", lambda: True)  # not in the tests' own process
    step.ours(case)()
    assert torch.bfloat16 in dtypes  # the classifier stays single
    dtypes.clear()
    step.theirs(case)()
    assert set(dtypes) == {torch.bfloat16 if theirs == "bf16" else torch.float32}


def test_a_row_says_what_is_beside_it(monkeypatch):
    told = []

    @contextmanager
    def apart(make, case):
        yield lambda: told.append((make.__name__, case.crop))

    def once(ours, other, repetitions):
        ours(), other()
        return [1.0] * repetitions, [2.0] * repetitions

    case = Case(crop=33, batch=2, output_stride=16, ours="bf16", theirs="bf16", aim=3.0)
    monkeypatch.setattr(step, "cases", lambda: [case])
    monkeypatch.setattr(step, "alternate", once)
    monkeypatch.setattr(step, "apart", apart)
    [found] = compare(2)
    assert told == [("ours", 33), ("theirs", 33)]
    assert "loop under bf16 autocast" in found.theirs_is
    assert found.ratios == (2.0, 2.0) and found.verdict == "missed"
    assert found.what == "step, resnet50, 33 px, batch 2, stride 16, bf16"
    assert not list(compare(2, named="513 px")) and len(list(compare(2, named="33 px"))) == 1


def test_products_beside_ours():
    """At 513 pixels theirs has a 3x3 convolution more; at 65 its rates reach no map of 5 x 5."""
    large = more_products(Case(crop=513, batch=1, output_stride=16))
    small = more_products(Case(crop=65, batch=1, output_stride=16))
    assert 1.0 < large < 1.1 < 1.4 < small < 1.6
