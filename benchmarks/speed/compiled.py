"""An iteration as a training has it beside the same network compiled by torch.

A compiled network has other last bits and wants a C++ compiler where it runs: it would have to be
much faster to be worth a field. The compilation, a minute or two, is left out.
"""

import shutil
from collections.abc import Iterator

import torch

from benchmarks.networks import build, iteration, table6, tier
from benchmarks.speed.alternating import Comparison, compared

CLASSES = 13
COMPILERS = ("g++", "clang++")


def compare(repetitions: int) -> Iterator[Comparison]:
    """Nothing where there is no compiler."""
    if not any(shutil.which(name) for name in COMPILERS):
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    row = table6("os16", tier("micro"))
    crop, batch = row.stage.crop_size, row.stage.batch_size
    plain, compiled = (build(row.network, CLASSES, row.stage.output_stride) for _ in range(2))
    compiled.backbone.compile()
    assert compiled.aspp is not None
    compiled.aspp.compile()
    found = compared(
        iteration(plain, row.stage, CLASSES),
        iteration(compiled, row.stage, CLASSES),
        repetitions,
        what=f"iteration of Table 6's network, micro tier, {crop} px, batch {batch}",
        theirs_is="the same, backbone and ASPP by torch.compile",
        pieces=batch,
        unit="image",
    )
    torch.set_num_threads(threads)
    yield found
