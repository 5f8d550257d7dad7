"""An evaluation's passes and sizes, by hand."""

from replication.inference import images_at_once, padded_size, passes, scaled_size
from replication.protocol import Evaluation


def strategy(output_stride, scales=(1.0,), flip=False):
    return Evaluation(
        data="voc", split="val", output_stride=output_stride, crop_size=33, scales=scales, flip=flip
    )


def test_sizes():
    assert padded_size(375, 500, 513, 32) == (513, 513)
    assert padded_size(1024, 2048, 769, 32) == (1025, 2049)
    assert padded_size(33, 34, 33, 8) == (33, 41)
    assert [scaled_size(513, s) for s in (0.5, 0.75, 1.0, 1.75)] == [257, 385, 513, 897]


def test_passes_are_counted_once_with_all_they_serve():
    """The plain pass at output stride 8 serves two of three strategies."""
    found = passes([strategy(16), strategy(8, (0.5, 1.0), flip=True), strategy(8)])
    assert list(found.items()) == [
        ((8, 0.5, False), 1), ((8, 0.5, True), 1), ((8, 1.0, False), 2), ((8, 1.0, True), 1),
        ((16, 1.0, False), 1),
    ]  # fmt: skip


def test_how_many_images_go_together():
    assert images_at_once((65, 65), (65, 65), 1 << 15) == 7
    # The larger of what is predicted and what the network sees; one at least.
    assert images_at_once((100, 100), (65, 65), 1 << 15) == 3
    assert images_at_once((513, 513), (65, 65), 1 << 15) == 1
