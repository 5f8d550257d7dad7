"""The 3x3 atrous convolution, which costs no more than the weights that reach its feature map."""

from torch import Tensor, nn
from torch.nn import functional as F

from replication.network.geometry import reached


class AtrousConv2d(nn.Conv2d):
    """A 3x3 convolution without bias, padded by its rate: (N, inside, h, w) to the same size.

    At a rate of the map's size or more, all its weights but the centre's fall on padding, wherever
    it is applied: "the 3x3 filter ... degenerates to a simple 1x1 filter" (section 3.3, Figure 4).
    It is then computed as one. The other weights get the gradient that they always had: zero.
    """

    def __init__(self, inside: int, outside: int, *, rate: int = 1) -> None:
        super().__init__(inside, outside, 3, padding=rate, dilation=rate, bias=False)

    def set_geometry(self, *, rate: int, stride: int = 1) -> None:
        self.stride = (stride, stride)
        self.dilation = self.padding = (rate, rate)

    def forward(self, x: Tensor) -> Tensor:
        rate, weight = self.dilation[0], self.weight
        padding = [rate, rate]
        for axis in (0, 1):
            if reached(x.shape[2 + axis], rate) == 1:
                weight = weight.narrow(2 + axis, 1, 1)
                padding[axis] = 0
        return F.conv2d(x, weight, None, self.stride, padding, self.dilation)
