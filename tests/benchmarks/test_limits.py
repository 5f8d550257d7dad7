"""What the profile of an iteration is held against, by hand."""

import pytest

from benchmarks import limits
from benchmarks.limits import Found, Peaks, Work, page, rows
from replication.forecast.effort import Effort

PEAKS = Peaks(products=100e9, copies=10e9)


# 60 GFLOP in two seconds are 30 GFLOP/s, in the second of the convolutions 60; 4 GB in the other.
FOUND = Found(
    work=Work(what="a step", run=lambda: None, effort=Effort(flops=60e9, moved=4e9)),
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


def test_a_page_has_a_column_a_piece_of_work():
    lines = page([FOUND, FOUND], PEAKS).splitlines()
    assert "| | a step | a step |" in lines and "| time | 2 s | 2 s |" in lines
    assert any("products 100 GFLOP/s, copies 10.0 GB/s" in line for line in lines)


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
