"""The 1x1 convolution of a shortcut, whose gradient at a stride costs no more than at none."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.network.atrous import VECTOR


class Projection(nn.Conv2d):
    """A 1x1 convolution: (N, inside, h, w) to (N, outside, ...) at every `stride`-th position.

    It has no bias but what batch normalisation leaves when it is folded in (`network.folding`).
    On a CPU, oneDNN's gradient towards x is one and a half to two times as slow as its own at
    stride 1 with zeros between, which has the same bits where channels are whole vectors.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        learns = x.requires_grad and torch.is_grad_enabled() and self.bias is None
        slow = x.device.type == "cpu" and self.stride != (1, 1)
        if not (slow and learns) or self.in_channels % VECTOR or self.out_channels % VECTOR:
            return F.conv2d(x, weight, self.bias, self.stride)
        if torch.is_autocast_enabled("cpu"):
            precision = torch.get_autocast_dtype("cpu")
            x, weight = x.to(precision), weight.to(precision)
        y: Tensor = _Strided.apply(x, weight, self.stride[0])  # type: ignore[no-untyped-call]
        return y


class _Strided(torch.autograd.Function):
    """The convolution at a stride, of which no position of x is read twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        n, channels, height, width = x.shape
        # Of what was read only the shape is asked for.
        read = x.new_empty((n, *grad.shape[2:], channels)).permute(0, 3, 1, 2)
        of_read, _ = _gradients(grad, read, weight, 1, (True, False))
        of_x = x.new_zeros((n, height, width, channels))
        of_x[:, :: ctx.stride, :: ctx.stride] = of_read.permute(0, 2, 3, 1)
        of_weight = None
        if ctx.needs_input_grad[1]:
            _, of_weight = _gradients(grad, x, weight, ctx.stride, (False, True))
        return of_x.permute(0, 3, 1, 2), of_weight, None


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride, stride], [0, 0], [1, 1], False, [0, 0], 1, [*wanted, False]
    )
    return of_x, of_weight
