"""What a result was made with: versions, processor or device, commit."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any


@cache
def describe(device: str) -> dict[str, Any]:
    """Versions, device and commit, as recorded beside every step. Imports torch."""
    import numpy
    import torch
    import torchvision

    on_gpu = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        **commit(),
    }


def commit() -> dict[str, Any]:
    """The checkout's commit and whether its tracked files were unchanged; None outside git."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "clean": None if status is None else not status}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
