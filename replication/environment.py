"""What a result was made with: versions, processor or device, commit."""

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from replication.reference.git import GitError, git

# Settings by which a library takes other kernels than the processor offers.
KERNEL_SETTINGS = (
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)
# Whose gradient a dilated filter has where ours is no quicker (`network.atrous`), and had
# everywhere before it was recorded.
ONEDNN = "oneDNN"
# Prefixes of processor flags that name vector instructions, on x86-64 and on 64-bit ARM.
VECTORS = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "i8mm", "sse", "ssse", "sve")
# Those that multiply bfloat16 numbers; without them a library emulates the products.
BF16 = ("amx_bf16", "avx512_bf16", "bf16")


@cache
def describe(device: str) -> dict[str, Any]:
    """Versions, device and commit, as recorded beside every step. Imports torch."""
    import numpy
    import PIL
    import torch
    import torchvision

    from replication.network import atrous

    on_gpu = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "machine": platform.machine(),
        "processor": processor(),
        "vectors": vectors(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "kernel_settings": {name: os.environ[name] for name in KERNEL_SETTINGS & os.environ.keys()},
        "dilated_gradients": ONEDNN if atrous.KNOWS_DILATION else "weight by weight",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        **commit(),
    }


def numerics(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree in two descriptions before the same step may be asked for the same bits.

    A class that is too wide calls it a regression when a library took another kernel. One that is
    too narrow leaves the comparison to a test with a margin, and `check` says so: hence narrow.

    - torch, torchvision and numpy to the whole version: any release may sum in another order.
      Pillow too: it decodes the photographs and draws the generated pictures. Python to its minor
      version: it computes nothing here but its own sums and hashes.
    - The number of threads: a sum is split among them.
    - The processor by name and by its vector instructions, beside torch's own capability (AVX2,
      AVX512): MKL looks at the processor itself. Held to AVX2 by MKL_ENABLE_INSTRUCTIONS, the
      first loss of a smoke training moves in its seventh digit while torch's capability stays
      AVX512. Virtual machines hide the name, hence the instructions; oneDNN plans by the caches,
      which go with the name.
    - Whose gradients dilated filters have: without AVX-512 they were oneDNN's once.
    - Not the number of cores, the commit, or the date: they must not change a bit.
    """
    exact = (
        "torch", "torchvision", "numpy", "pillow", "device", "machine", "processor", "vectors",
        "cpu_capability", "kernel_settings", "threads",
    )  # fmt: skip
    minor = ".".join(str(environment.get("python")).split(".")[:2])
    return {
        "python": minor,
        "dilated_gradients": environment.get("dilated_gradients", ONEDNN),
        **{name: environment.get(name) for name in exact},
    }


def at_most_cores(threads: int) -> int:
    """Threads that a step is run with: a tier's, as far as the machine has cores for them.

    More of them wait for each other. How many they were is part of the record, and of the class of
    machines that give the same bits.
    """
    return min(threads, os.cpu_count() or 1)


def installed(package: str) -> str:
    """A package's version without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def commit() -> dict[str, Any]:
    """The checkout's commit and whether its tracked files were unchanged; None outside git."""
    here = Path(__file__).resolve().parent
    try:
        head = git(here, "rev-parse", "HEAD")
        changed = git(here, "status", "--porcelain", "--untracked-files=no")
    except GitError:
        return {"commit": None, "clean": None}
    return {"commit": head, "clean": not changed}


def _cpu() -> dict[str, str]:
    """The first processor's entry in /proc/cpuinfo; empty where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def processor() -> str:
    """The processor's own name, as far as the machine tells it."""
    return _cpu().get("model name") or platform.processor() or platform.machine()


def vectors() -> str:
    """Its vector instructions, in order."""
    cpu = _cpu()
    flags = cpu.get("flags") or cpu.get("Features") or ""
    return " ".join(sorted(flag for flag in flags.split() if flag.startswith(VECTORS)))


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself; not, where the machine does not tell."""
    return not set(BF16).isdisjoint(vectors().split())
