"""What is done another way than torch's plain call, for the same bits: the two beside each other.

Shapes are the micro tier's. The bits are compared before anything is timed.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.alternating import Comparison, Run, compared
from replication.data import crops
from replication.data.batches import draw
from replication.environment import has_bf16
from replication.network.aspp import dropout, joined
from replication.network.pointwise import Pointwise, pointwise

# Tensors from the number of a run.
Way = Callable[[int], Sequence[Tensor]]
# Runs of one operation take a few milliseconds.
TIMES = 20
# (pictures, branches, channels of each, map): micro's ASPP at both output strides.
BRANCHES = ((16, 5, 48, 17), (16, 5, 48, 33))
# (pictures, inside, outside, map): the shortcuts that stride, of block1 and block2.
PROJECTIONS = ((16, 16, 32, 65), (16, 32, 64, 33))
# (pictures, inside, outside, map): an evaluation's batch, in the middle of a unit and at its end.
EVALUATED = ((7, 128, 32, 33), (7, 32, 128, 33))
# (pictures, side, what for)
BATCHES = ((16, 65, "training"), (32, 49, "pretraining"))


def compare(repetitions: int) -> Iterator[Comparison]:
    """On the thread that the caller set."""
    for precision in (torch.float32, torch.bfloat16)[: 1 + has_bf16()]:
        yield _dropout(repetitions, precision)
    if has_bf16():
        for shape in BRANCHES:
            yield _joined(repetitions, *shape)
        for shape in PROJECTIONS:
            yield _projection(repetitions, *shape)
    for shape in EVALUATED:
        yield _evaluated(repetitions, *shape)
    yield _classes(repetitions)
    for pictures, side, purpose in BATCHES:
        yield _crops(repetitions, pictures, side, purpose)


def _joined(repetitions: int, pictures: int, branches: int, channels: int, side: int) -> Comparison:
    def maps(channels: int) -> Tensor:
        return _maps(pictures, channels, side, torch.bfloat16)

    parts = [maps(channels).requires_grad_() for _ in range(branches)]
    grad = maps(branches * channels)

    def ours(_: int) -> Sequence[Tensor]:
        return torch.autograd.grad(joined([F.relu(one) for one in parts]), parts, grad)

    def theirs(_: int) -> Sequence[Tensor]:
        return torch.autograd.grad(torch.cat([F.relu(one) for one in parts], 1), parts, grad)

    return _same(
        repetitions,
        ours,
        theirs,
        what=f"{branches} branches of {channels} channels joined after ReLU, {side} px, and its "
        "gradients, bf16",
        theirs_is="torch.cat",
        pictures=pictures,
    )


def _dropout(repetitions: int, precision: torch.dtype) -> Comparison:
    x = _maps(16, 48, 33, precision).requires_grad_()
    grad = _maps(16, 48, 33, precision)
    shape = (16, 33, 33, 48)

    def ours(_: int) -> Sequence[Tensor]:
        generator = torch.Generator().manual_seed(0)
        return torch.autograd.grad(dropout(x, 0.1, generator), x, grad)

    def theirs(_: int) -> Sequence[Tensor]:
        drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        keep = drawn.permute(0, 3, 1, 2) >= 0.1
        return torch.autograd.grad(x * keep / 0.9, x, grad)

    return _same(
        repetitions,
        ours,
        theirs,
        what="dropout, 48 channels, 33 px, and its gradient"
        f"{', bf16' if precision == torch.bfloat16 else ''}",
        theirs_is="a mask of booleans",
        pictures=16,
    )


def _projection(
    repetitions: int, pictures: int, inside: int, outside: int, side: int
) -> Comparison:
    x = _maps(pictures, inside, side, torch.bfloat16).requires_grad_()
    grad = _maps(pictures, outside, (side + 1) // 2, torch.bfloat16)
    ours, theirs = Pointwise(inside, outside), nn.Conv2d(inside, outside, 1, bias=False)
    theirs.load_state_dict(ours.state_dict())

    def step(layer: nn.Conv2d) -> Way:
        layer.stride = (2, 2)
        layer.bfloat16().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return lambda _: torch.autograd.grad(layer(x), (x, layer.weight), grad)

    return _same(
        repetitions,
        step(ours),
        step(theirs),
        what=f"1x1 of stride 2, {side} px, {inside} to {outside} channels, and its gradients, bf16",
        theirs_is="nn.Conv2d",
        pictures=pictures,
    )


@torch.no_grad()
def _evaluated(repetitions: int, pictures: int, inside: int, outside: int, side: int) -> Comparison:
    x = _maps(pictures, inside, side, torch.float32)
    weight, bias = torch.randn(outside, inside, 1, 1), torch.randn(outside)

    def ours(_: int) -> Sequence[Tensor]:
        return [pointwise(x, weight, bias)]

    def theirs(_: int) -> Sequence[Tensor]:
        return [F.conv2d(x, weight, bias)]

    return _same(
        repetitions,
        ours,
        theirs,
        what=f"1x1 in an evaluation, {side} px, {inside} to {outside} channels",
        theirs_is="F.conv2d",
        pictures=pictures,
    )


def _classes(repetitions: int) -> Comparison:
    total = torch.randn(7, 13, 65, 65)

    def ours(_: int) -> Sequence[Tensor]:
        return [total.max(1).indices]

    def theirs(_: int) -> Sequence[Tensor]:
        return [total.argmax(1)]

    return _same(
        repetitions,
        ours,
        theirs,
        what="an evaluation's classes, 65 px, 13 classes",
        theirs_is="argmax",
        pictures=len(total),
    )


def _crops(repetitions: int, pictures: int, side: int, purpose: str) -> Comparison:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (pictures, 65, 65, 3), dtype=np.uint8)
    masks = generator.integers(0, 13, (pictures, 65, 65), dtype=np.uint8)
    sizes = torch.full((pictures, 2), 65)

    def places(iteration: int) -> crops.Places:
        draws = draw(pictures, (0.5, 2.0), 0.25, True, iteration=iteration, seed=0)
        return crops.place(sizes, draws, side, "bottom-right")

    def ours(iteration: int) -> Sequence[Tensor]:
        return crops._together(images, masks, places(iteration))

    def theirs(iteration: int) -> Sequence[Tensor]:
        return crops._one_by_one(list(images), list(masks), places(iteration))

    return _same(
        repetitions,
        ours,
        theirs,
        what=f"crops of 65-pixel pictures, {side} px, {purpose}'s batch of {pictures}",
        theirs_is="one by one",
        pictures=pictures,
    )


def _maps(pictures: int, channels: int, side: int, precision: torch.dtype) -> Tensor:
    x = torch.randn(pictures, channels, side, side, dtype=precision)
    return x.contiguous(memory_format=torch.channels_last)


def _same(
    repetitions: int, ours: Way, theirs: Way, *, pictures: int, what: str, theirs_is: str
) -> Comparison:
    """Both ways in turn, TIMES at once, each counting from 0; raises RuntimeError on other bits."""
    if not all(map(torch.equal, ours(0), theirs(0))):
        raise RuntimeError(f"{what}: the two ways give other bits")

    def often(way: Way) -> Run:
        numbers = count()
        return lambda: [way(next(numbers)) for _ in range(TIMES)]

    return compared(
        often(ours),
        often(theirs),
        repetitions,
        what=what,
        theirs_is=theirs_is,
        pieces=TIMES * pictures,
        unit="picture",
    )
