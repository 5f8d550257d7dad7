"""Batch normalisation folded into the convolutions before it, for evaluation."""

from copy import deepcopy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from replication.network.deeplab import DeepLabV3


def folded(network: DeepLabV3) -> DeepLabV3:
    """A copy for evaluation alone, with the same logits to rounding and no batch normalisation.

    Evaluated, it is a factor and a term for each channel, which a convolution's weights and bias
    take over: the maps are passed through once less (benchmarks/speed/sweep.py).
    """
    copy = deepcopy(network).eval()
    for module in list(copy.modules()):
        for (before, convolution), (after, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, after, nn.Identity())
    return copy
