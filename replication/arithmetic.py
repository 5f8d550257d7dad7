"""The arithmetic of a step: its precision, and whether its kernels give the same bits again.

Torch keeps both as switches of the whole process. `arithmetic` sets them for one step and puts
them back; `products` is for each forward pass inside it. On a CPU there is nothing to switch: its
kernels give the same bits again, and TF32 is none of its formats.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from replication.errors import RunError
from replication.protocol import Precision

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
# With either of them cuBLAS sums in the same order every time.
REPEATABLE = (":4096:8", ":16:8")
# The first GPUs that have TF32 and bfloat16.
AMPERE = (8, 0)

# Modules whose attributes are switches, which no type checker sees.
CUDNN: Any = torch.backends.cudnn
CUBLAS: Any = torch.backends.cuda.matmul
DEBUGGING: Any = torch.utils.deterministic


@contextmanager
def arithmetic(
    device: torch.device, precision: Precision, *, deterministic: bool, one_size: bool
) -> Iterator[None]:
    """Torch's switches for a step on the device, as they were before when it ends.

    With `one_size`, all batches have the same shape: it pays to try every convolution's kernels
    once and to keep the fastest. The kernels of a deterministic step are not chosen by the clock.
    Raises RunError, in one line, for what the device cannot do.
    """
    _check(device, precision, deterministic)
    if device.type != "cuda":
        yield
        return
    # Read once, before the process's first matrix product, which may be an earlier step's: it is
    # the size that torch's own workspaces have, and changes no other step.
    os.environ.setdefault(WORKSPACE, REPEATABLE[0])
    before = _switches()
    try:
        _switch(
            convolutions="tf32" if precision == "tf32" else "ieee",
            matrices="ieee",
            search=one_size and not deterministic,
            deterministic=deterministic,
            warn_only=False,
            # Guards against reading memory that was never written, at the price of writing it.
            fill=False,
        )
        yield
    finally:
        _switch(**before)


def products(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Around a forward pass: with "bf16", its convolutions and matrix products are bfloat16's."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device; the host does not wait until it is there."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _switches() -> dict[str, Any]:
    return {
        "convolutions": CUDNN.conv.fp32_precision,
        "matrices": CUBLAS.fp32_precision,
        "search": CUDNN.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": DEBUGGING.fill_uninitialized_memory,
    }


def _switch(
    *,
    convolutions: str,
    matrices: str,
    search: bool,
    deterministic: bool,
    warn_only: bool,
    fill: bool,
) -> None:
    CUDNN.conv.fp32_precision = convolutions
    CUBLAS.fp32_precision = matrices
    CUDNN.benchmark = search
    standing = _switches()
    # Not where it stands already: the call imports torch's compiler.
    if (deterministic, warn_only) != (standing["deterministic"], standing["warn_only"]):
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    DEBUGGING.fill_uninitialized_memory = fill


def _check(device: torch.device, precision: Precision, deterministic: bool) -> None:
    said = f'precision = "{precision}"'
    if device.type != "cuda":
        if precision == "tf32":
            raise RunError(f'{said} is for GPUs, and this is a {device.type}: use "fp32"')
        return
    capability = torch.cuda.get_device_capability(device)
    if precision != "fp32" and capability < AMPERE:
        name = torch.cuda.get_device_name(device)
        raise RunError(f'{said}: {name} has no such arithmetic (it is older than Ampere): "fp32"')
    given = os.environ.get(WORKSPACE)
    if deterministic and given is not None and given not in REPEATABLE:
        raise RunError(
            f"deterministic = true: {WORKSPACE}={given} in the environment; "
            f"it must be {' or '.join(REPEATABLE)}, or not be set"
        )
