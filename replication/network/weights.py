"""Weights in and out: torchvision's names, stage to stage, block4 into block5-7."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from replication.errors import RunError
from replication.network.resnet import ResNet
from replication.protocol import Network

COUNTER = "num_batches_tracked"
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

    def lines(self) -> list[str]:
        """The counts, then the names of all that was not simply loaded, layer by layer."""
        # Files of early torch versions lack these; with a fixed BN decay nothing reads them.
        counters = [name for name in self.missing if name.endswith(COUNTER)]
        missing = [name for name in self.missing if name not in counters]
        named = {
            "missing, left as initialised": _layers(missing),
            "unused": _layers(self.unused),
            "another shape, left as initialised": self.mismatched,
            "not in the file and not needed": [f"{len(counters)} {COUNTER}"] if counters else [],
        }
        return [str(replace(self, missing=missing))] + [
            f"{kind}: {', '.join(names)}" for kind, names in named.items() if names
        ]


def _layers(names: Sequence[str]) -> list[str]:
    """Tensors' names as their layers': block4.1.bn2 for its weight, bias and statistics."""
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def read_file(path: Path) -> dict[str, Tensor]:
    """A state dict from a file, by `weights_only` loading: nothing in the file is run.

    Raises RunError for a file that is no state dict.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise RunError(f"{path}: {error.strerror}") from None
    except Exception as error:  # torch raises many kinds for a file that is no checkpoint
        raise RunError(f"{path}: cannot be loaded as weights ({_why(error)})") from None
    tensors = isinstance(state, Mapping) and all(isinstance(one, Tensor) for one in state.values())
    if not (tensors and state):
        raise RunError(f"{path}: no state dict; a torchvision network's state_dict() is expected")
    return dict(state)


def _why(error: Exception) -> str:
    """torch's first line, without its advice to load the file unsafely."""
    if "weights_only" in str(error):
        return "it holds more than tensors; save the network's state_dict() alone"
    return (str(error).splitlines() or [type(error).__name__])[0]


def load_backbone(backbone: ResNet, path: Path) -> Account:
    """Copy a torchvision state dict's tensors into a backbone.

    Raises RunError if none of the file's tensors fits.
    """
    account = load(backbone, from_torchvision(read_file(path)))
    if not account.loaded:
        raise RunError(
            f"{path}: none of its tensors is one of this {backbone.network.backbone}'s ({account})"
        )
    return account


def account_of_file(path: Path, network: Network) -> Account:
    """What loading a file into a network's backbone would do."""
    return load_backbone(ResNet(network, 16), path)


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
