"""Parts of an iteration: the loss on upsampled logits, atrous convolutions, memory that is kept.

The first beside F.interpolate's own gradient, the second beside torch's convolution, then what is
done another way for the same bits (`same_bits`); the last as two processes on two cores, which is
where it matters: the system clears the pages of one process at a time.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed import same_bits
from benchmarks.speed.alternating import Comparison, Run, compared
from replication.environment import has_bf16
from replication.network.atrous import AtrousConv2d
from replication.training import segmentation_loss

# (pictures, classes, logits, pixels): the micro tier's, and the paper's crop at output stride 16.
LOSSES = ((16, 13, 17, 65), (4, 21, 33, 513))
# (pictures, inside, outside, map, rate): micro's ASPP at both output strides and its block7, and
# the paper's ASPP.
CONVOLUTIONS = (
    (16, 128, 48, 17, 3), (16, 128, 48, 17, 9), (16, 128, 48, 33, 18), (16, 32, 32, 17, 16),
    (2, 2048, 256, 33, 12),
)  # fmt: skip
# Tensors of a micro block's output, made and dropped as iterations do.
TENSORS, ROUNDS, PROCESSES = 50, 100, 2
WORK = f"""
import sys, torch
from replication.allocation import keep_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_memory()
x = torch.randn(16, 128, 17, 17)
for _ in range({ROUNDS}):
    [x + x for _ in range({TENSORS})]
"""


def compare(repetitions: int) -> Iterator[Comparison]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for pictures, classes, side, pixels in LOSSES:
        yield _loss(repetitions, pictures, classes, side, pixels)
    for precision in (torch.float32, torch.bfloat16)[: 1 + has_bf16()]:
        for shape in CONVOLUTIONS:
            yield _convolution(repetitions, *shape, precision)
    yield from same_bits.compare(repetitions)
    torch.set_num_threads(threads)
    yield _memory(repetitions)


def _loss(repetitions: int, pictures: int, classes: int, side: int, pixels: int) -> Comparison:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(pictures, classes, side, side, generator=generator)
    logits = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
    labels = torch.randint(0, classes, (pictures, pixels, pixels), generator=generator)
    labels[:, :3] = 255

    def ours() -> Tensor:
        return segmentation_loss(
            logits, labels, upsample_logits=True, align_corners=True, label_grid="corners",
            normalisation="valid",
        )  # fmt: skip

    def theirs() -> Tensor:
        upsampled = F.interpolate(logits, (pixels, pixels), mode="bilinear", align_corners=True)
        return F.cross_entropy(upsampled, labels, ignore_index=255)

    def step(loss: Callable[[], Tensor]) -> Run:
        return lambda: torch.autograd.grad(loss(), logits)

    return compared(
        step(ours),
        step(theirs),
        repetitions,
        what=f"loss and gradient, {pixels} px, {classes} classes",
        theirs_is="F.interpolate, F.cross_entropy",
        pieces=pictures,
        unit="picture",
    )


def _convolution(
    repetitions: int,
    pictures: int,
    inside: int,
    outside: int,
    side: int,
    rate: int,
    precision: torch.dtype,
) -> Comparison:
    def maps(channels: int) -> Tensor:
        x = torch.randn(pictures, channels, side, side, dtype=precision)
        return x.contiguous(memory_format=torch.channels_last)

    x, grad = maps(inside).requires_grad_(), maps(outside)

    def step(layer: nn.Conv2d) -> Run:
        layer.to(precision).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return lambda: torch.autograd.grad(layer(x), (x, layer.weight), grad)

    ours = AtrousConv2d(inside, outside, rate=rate)
    theirs = nn.Conv2d(inside, outside, 3, padding=rate, dilation=rate, bias=False)
    return compared(
        step(ours),
        step(theirs),
        repetitions,
        what=f"3x3 of rate {rate} at {side} px, {inside} to {outside} channels, and its gradients"
        f"{', bf16' if precision == torch.bfloat16 else ''}",
        theirs_is="nn.Conv2d",
        pieces=pictures,
        unit="picture",
    )


def _memory(repetitions: int) -> Comparison:
    def together(way: str) -> None:
        command = [sys.executable, "-c", WORK, way]
        running = [subprocess.Popen(command) for _ in range(PROCESSES)]
        if any(process.wait() for process in running):
            raise RuntimeError(f"{command}: failed")

    return compared(
        lambda: together("kept"),
        lambda: together("own"),
        repetitions,
        what=f"{ROUNDS * TENSORS} sums of 2.4 MB in each of {PROCESSES} processes, start included",
        theirs_is="the C library's own thresholds",
    )
