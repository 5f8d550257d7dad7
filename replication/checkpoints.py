"""Tensors on disk: safetensors, written beside and renamed into place."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from replication.errors import RunError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able mapping of facts; a reader sees the old file or the new."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(save(plain, {"facts": json.dumps(dict(facts), sort_keys=True)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote. Raises RunError for a file that is cut short or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error}); delete it to start this step again") from None


def pack(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, history: list[dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Everything a training needs to go on: weights, momentum, and old weights of replicas."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            tensors[f"momentum/{name}"] = buffer
    for age, weights in enumerate(history):
        tensors |= {f"history{age}/{name}": tensor for name, tensor in weights.items()}
    return tensors


@torch.no_grad()
def unpack(
    tensors: Mapping[str, Tensor], model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> list[dict[str, Tensor]]:
    """Put `pack`'s tensors back; returns the history of weights, oldest first."""
    model.load_state_dict(_under(tensors, "model/"))
    parameters = dict(model.named_parameters())
    for name, buffer in _under(tensors, "momentum/").items():
        # Momentum keeps its parameter's memory layout: sums then round alike.
        copy = torch.empty_like(parameters[name])
        copy.copy_(buffer)
        optimizer.state[parameters[name]]["momentum_buffer"] = copy
    ages = sorted({int(n.split("/")[0][7:]) for n in tensors if n.startswith("history")})
    return [_under(tensors, f"history{age}/") for age in ages]


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
