"""Anybody's network, made fit for `evaluation`; its weights from a file, all of them or none."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from replication.errors import ReplicationError
from replication.network.weights import Account

SHOWN_NAMES = 3


class ForeignModel(torch.nn.Module):
    """A network as `evaluation.Segmenter`: the logits are those of its own forward pass.

    `network` maps (N, 3, H, W), ImageNet's mean and deviation removed, to logits (N, C, h, w) of
    any resolution, or to a mapping with them under "out". Its output stride is its own affair.
    """

    output_stride = 8  # never shown, never changed: the interface wants a number
    size_step = 1  # no grid to keep: an image larger than the crop is not padded

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        *,
        name: str,
        num_classes: int,
        align_corners: bool,
        contiguous: bool = True,
    ) -> None:
        super().__init__()
        # A function has no parameters of its own to say where its input belongs.
        self.place = torch.nn.Parameter(torch.empty(0), requires_grad=False)
        self.network = network
        self.name = name
        self.num_classes = num_classes
        self.align_corners = align_corners
        # channels_last is quicker, but somebody's `view` may fail on it.
        self.contiguous = contiguous

    def set_output_stride(self, output_stride: int) -> None:
        assert output_stride == self.output_stride

    def coarse_logits(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, h, w). Raises ReplicationError for anything else."""
        try:
            out = self.network(x.contiguous() if self.contiguous else x)
        except Exception as error:
            raise ReplicationError(
                f"{self.name} failed on an input {tuple(x.shape)}: {told(error)}"
            ) from None
        return self._checked(out, x)

    def _checked(self, out: Any, x: Tensor) -> Tensor:
        wanted = f"it must give logits ({x.shape[0]}, {self.num_classes}, h, w)"
        if isinstance(out, Mapping):
            if "out" not in out:
                keys = ", ".join(map(str, out)) or "nothing"
                raise ReplicationError(f'{self.name} gave a mapping without "out" ({keys})')
            out = out["out"]
        if not isinstance(out, Tensor):
            raise ReplicationError(f"{self.name} gave a {type(out).__name__}; {wanted}")
        if out.ndim != 4 or out.shape[0] != x.shape[0] or not out.is_floating_point():
            got = f"{str(out.dtype).removeprefix('torch.')} {tuple(out.shape)}"
            raise ReplicationError(f"{self.name} gave {got} for {tuple(x.shape)}; {wanted}")
        if out.shape[1] != self.num_classes:
            raise ReplicationError(
                f"{self.name} gives logits of {out.shape[1]} classes, "
                f"and the set has {self.num_classes}"
            )
        if out.isnan().any():
            raise ReplicationError(f"{self.name} gave logits that are not numbers (NaN)")
        return out.float()


def fill(
    network: torch.nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    name: str,
    hint: Callable[[], str] = str,
) -> Account:
    """Load a state dict through the network's own `load_state_dict`.

    Raises ReplicationError as `refuse_misfits`, or if the network refuses it.
    """
    own = {key: tensor.shape for key, tensor in network.state_dict().items()}
    fitting = {key: t for key, t in state.items() if key not in own or own[key] == t.shape}
    try:
        missing, unused = network.load_state_dict(fitting, strict=False)
    except Exception as error:
        raise ReplicationError(f"{path}: {name} refuses it: {told(error)}") from None
    account = Account(
        loaded=[key for key in fitting if key not in unused],
        missing=[key for key in missing if key not in state],
        unused=list(unused),
        mismatched=[
            f"{key} {tuple(tensor.shape)} -> {tuple(own[key])}"
            for key, tensor in state.items()
            if key not in fitting
        ],
    )
    refuse_misfits(account, path, name, hint)
    return account


def matters(tensor: str) -> bool:
    """Whether inference depends on it: auxiliary heads and BN's counters only serve training."""
    return not (tensor.startswith("aux_classifier.") or tensor.endswith("num_batches_tracked"))


def refuse_misfits(account: Account, path: Path, name: str, hint: Callable[[], str] = str) -> None:
    """Raise ReplicationError, in one line, if a tensor that matters did not find its place.

    An unused one counts: a ResNet-101's weights hold all of a ResNet-50's, and many more.
    """
    parts = []
    for kind in ("missing", "mismatched", "unused"):
        names = [tensor for tensor in getattr(account, kind) if matters(tensor)]
        if names:
            more = ", …" if len(names) > SHOWN_NAMES else ""
            parts.append(f"{len(names)} {kind} ({', '.join(names[:SHOWN_NAMES])}{more})")
    if parts:
        raise ReplicationError(f"{path}: does not fit {name}: {'; '.join(parts)}{hint()}")


def told(error: BaseException) -> str:
    """An error of somebody else's code in one line: kind, message, and where in their code."""
    ours, torchs = str(Path(__file__).parent), str(Path(torch.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        frame
        for frame in frames
        if not frame.filename.startswith((ours, torchs)) and "importlib" not in frame.filename
    ]
    where = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    message = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {message}{where}"
