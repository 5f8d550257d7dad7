"""The 1x1 convolution, oneDNN's on one thread too, and at a stride no slower than at none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Values in a vector: oneDNN's kernels are others where channels are no multiple of it.
VECTOR = 16
ONEDNN = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Pointwise(nn.Conv2d):
    """A 1x1 convolution: (N, inside, h, w) to (N, outside, ...) at every `stride`-th position.

    Without `bias` it has none but what batch normalisation leaves when it is folded in
    (`network.folding`). On a CPU, in bfloat16, oneDNN's gradient towards x at a stride is slower
    than its own at stride 1 with zeros between (benchmarks/speed/same_bits.py), which has the same
    bits where channels are whole vectors.
    """

    def __init__(self, inside: int, outside: int, *, bias: bool = False) -> None:
        super().__init__(inside, outside, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if not self._strides_slowly(x):
            return pointwise(x, self.weight, self.bias, self.stride)
        x, weight = x.bfloat16(), self.weight.bfloat16()
        y: Tensor = _Strided.apply(x, weight, self.stride[0])  # type: ignore[no-untyped-call]
        return y

    def _strides_slowly(self, x: Tensor) -> bool:
        """Whether there will be a gradient towards x that oneDNN is slow at."""
        if x.device.type != "cpu" or self.stride == (1, 1) or self.bias is not None:
            return False
        whole = self.in_channels % VECTOR == self.out_channels % VECTOR == 0
        return whole and in_bf16(x) and x.requires_grad and torch.is_grad_enabled()


def in_bf16(x: Tensor) -> bool:
    """Whether a CPU convolves x in bfloat16."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16


def pointwise(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sequence[int] = (1, 1)
) -> Tensor:
    """A 1x1 convolution of x (N, inside, h, w) by `weight` (outside, inside, 1, 1).

    Of fewer than 16 maps, on one thread, torch would make it a matrix product of maps that it lays
    out channels first. Where nothing is learned from it oneDNN's is asked for by name. For the
    networks of the micro tier it has the same bits, where the two were compared (docs/speed), but
    on maps of a few positions.
    """
    if _evaluated_in_fp32(x) and x.shape[2] * x.shape[3] >= VECTOR:
        return torch.mkldnn_convolution(x, weight, bias, (0, 0), stride, (1, 1), 1)
    return F.conv2d(x, weight, bias, stride)


def _evaluated_in_fp32(x: Tensor) -> bool:
    if x.device.type != "cpu" or not ONEDNN or torch.is_grad_enabled():
        return False
    return x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


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
