"""An iteration as a training has it beside the same network compiled by torch.

A compiled network has other last bits and wants a C++ compiler where it runs: it would have to be
much faster to be worth a field. The compilation, a minute or two, is left out.
"""

import shutil
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.networks import build, table6, tier
from benchmarks.speed.alternating import Comparison, Run, alternate
from replication.network.deeplab import DeepLabV3
from replication.training import segmentation_loss, set_batch_norm, sgd

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
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, crop, crop, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch, crop, crop), generator=generator)
    plain, compiled = (build(row.network, CLASSES, row.stage.output_stride) for _ in range(2))
    compiled.backbone.compile()
    assert compiled.aspp is not None
    compiled.aspp.compile()
    of_plain, of_compiled = alternate(
        _step(plain, x, labels), _step(compiled, x, labels), repetitions
    )
    torch.set_num_threads(threads)
    yield Comparison(
        what=f"iteration of Table 6's network, micro tier, {crop} px, batch {batch}",
        theirs_is="the same, backbone and ASPP by torch.compile",
        ours=tuple(of_plain),
        theirs=tuple(of_compiled),
        pieces=batch,
        unit="image",
    )


def _step(model: DeepLabV3, x: Tensor, labels: Tensor) -> Run:
    set_batch_norm(model, decay=0.9, frozen=False, gains_too=False)
    optimizer = sgd(model, momentum=0.9, weight_decay=1e-4)
    dropped = torch.Generator().manual_seed(0)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = segmentation_loss(
            model.coarse_logits(x, dropped), labels, upsample_logits=True, align_corners=True,
            label_grid="corners", normalisation="valid",
        )  # fmt: skip
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
