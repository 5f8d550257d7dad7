"""What the profile of an iteration is held against, by hand."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import limits
from benchmarks.limits import Found, Peaks, Work, page, rows
from replication.forecast.effort import Effort
from replication.network.atrous import AtrousConv2d

PEAKS = Peaks(products={"fp32": 100e9, "bf16": 600e9}, copies=10e9)


# 60 GFLOP in two seconds are 30 GFLOP/s, in the second of the convolutions 60; 4 GB in the other.
FOUND = Found(
    work=Work(
        what="a step",
        precision="fp32",
        run=lambda: None,
        effort=Effort(flops=60e9, moved=4e9),
    ),
    seconds=2.0,
    shares={"convolution": 0.2, "convolution, backward": 0.3, "batch norm": 0.5},
)


def test_by_hand():
    told = rows(FOUND, PEAKS)
    assert told["time"] == "2 s" and told["products"] == "60 GFLOP"
    assert told["of the peak of products"] == "30 %"
    assert told["... in the time of convolutions"] == "60 %"
    assert told["of the peak of copies, in its time"] == "40 %"
    assert told["time in: batch norm"] == "50 %" and told["time in: relu"] == "0 %"


def test_each_precision_is_held_against_its_own_peak():
    told = rows(replace(FOUND, work=replace(FOUND.work, precision="bf16")), PEAKS)
    assert told["of the peak of products"] == "5 %"
    assert told["... in the time of convolutions"] == "10 %"
    assert told["moved outside convolutions"] == limits.UNCOUNTED
    assert told["of the peak of copies, in its time"] == limits.UNCOUNTED


def test_shares_are_medians_of_profiles(monkeypatch):
    """The slow first touch of new memory, in one profile of five, is not what the step does."""
    profiles = iter([{"relu": 40}, {"relu": 4}, {"relu": 4}, {"relu": 5}, {"relu": 3}])
    monkeypatch.setattr(
        limits, "_profile", lambda _: Counter(next(profiles)) + Counter({"convolution": 12})
    )
    shares = limits._measure(FOUND.work, 1).shares
    assert shares["relu"] == 0.25 and shares["convolution"] == 0.75


def test_the_gradient_weight_by_weight_is_a_convolutions():
    layer = AtrousConv2d(2, 2, rate=3)
    x = torch.randn(1, 2, 5, 5, requires_grad=True)

    def step():
        layer(x).sum().backward()

    step()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        step()
    of_products = [event for event in profiled.events() if event.name == "aten::mm"]
    assert len(of_products) == 9
    assert {limits._kind(limits._named(event)) for event in of_products} == {
        "convolution, backward"
    }


def test_a_page_has_a_column_a_piece_of_work():
    lines = page([FOUND, FOUND], PEAKS).splitlines()
    assert "| | a step | a step |" in lines and "| time | 2 s | 2 s |" in lines
    told = "products 100 GFLOP/s in fp32 and 600 GFLOP/s in bf16, copies 10.0 GB/s"
    assert told in " ".join(lines)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::convolution_backward", "convolution, backward"),
        ("aten::mkldnn_convolution", "convolution"),
        ("aten::native_batch_norm_backward", "batch norm, backward"),
        ("aten::threshold_backward", "relu, backward"),
        ("aten::empty", limits.OTHER),
    ],
)
def test_operations_by_what_they_are(name, kind):
    assert limits._kind(name) == kind
