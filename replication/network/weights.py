"""Weights in and out: torchvision's names, stage to stage, block4 into block5-7."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from replication.network.resnet import ResNet

_STEM = {"conv1.": "stem.conv.", "bn1.": "stem.bn."}


@dataclass(kw_only=True)
class Account:
    """What a loading did with every tensor; nothing is skipped silently."""

    loaded: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(names)} {kind}" for kind, names in vars(self).items() if names]
        return ", ".join(parts) or "nothing to load"


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a torchvision ResNet's (or segmentation model's backbone) tensors to ours."""
    renamed = {}
    for name, tensor in state.items():
        name = name.removeprefix("backbone.")
        for theirs, ours in _STEM.items():
            if name.startswith(theirs):
                name = ours + name.removeprefix(theirs)
        renamed[re.sub(r"^layer(\d)\.", r"block\1.", name)] = tensor
    return renamed


@torch.no_grad()
def load(module: nn.Module, state: Mapping[str, Tensor]) -> Account:
    """Copy every tensor of `state` that `module` has under the same name and shape."""
    account = Account()
    own = module.state_dict()
    for name, tensor in own.items():
        if name not in state:
            account.missing.append(name)
        elif state[name].shape != tensor.shape:
            account.mismatched.append(f"{name} {tuple(state[name].shape)} -> {tuple(tensor.shape)}")
        else:
            tensor.copy_(state[name])
            account.loaded.append(name)
    account.unused.extend(name for name in state if name not in own)
    return account


@torch.no_grad()
def replicate_block4(backbone: ResNet, *, gamma: float) -> Account:
    """Start block5 to block7 as copies of block4 as far as shapes allow (section 3.2).

    block4's first unit reads block3's depth through a projection; a later block's first unit reads
    block4's own depth and has no projection, so its first 1x1 convolution keeps its fresh
    initialisation. `gamma` scales the last BN gain of every copied unit: 1 is a plain copy, 0
    makes each added unit start as the identity.
    """
    account = Account()
    source = backbone.get_submodule("block4").state_dict()
    for block in range(5, backbone.network.last_block + 1):
        target = backbone.get_submodule(f"block{block}")
        for name, tensor in target.state_dict().items():
            if source[name].shape == tensor.shape:
                tensor.copy_(source[name])
                if name.endswith("bn3.weight"):
                    tensor.mul_(gamma)
                account.copied.append(f"block{block}.{name}")
            else:
                account.mismatched.append(f"block{block}.{name}")
    return account
