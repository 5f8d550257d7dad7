"""What the device reaches at best: large square matrix products, and large copies."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.device.setting import Setting, synchronise


def measure(setting: Setting) -> dict[str, float]:
    """FLOP/s of each precision's products, and bytes/s ("copy"), read and written both counted."""
    side, copied = (128, 1 << 20) if setting.quick else (8192, 1 << 30)
    found: dict[str, float] = {}
    a, b = (torch.randn(side, side, device=setting.device) for _ in range(2))
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    for precision in setting.precisions:
        factors = (a.bfloat16(), b.bfloat16()) if precision == "bf16" else (a, b)
        try:
            matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
            taken = _seconds(partial(torch.mm, *factors), setting)
        finally:
            matmul.fp32_precision = before
        found[precision] = 2 * side**3 / taken
    source = torch.zeros(copied, dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    found["copy"] = 2 * copied / _seconds(lambda: target.copy_(source), setting)
    return found


def _seconds(run: Callable[[], object], setting: Setting, calls: int = 10) -> float:
    """Of one call: the median over repetitions of several calls each."""
    taken = []
    for _ in range(setting.repetitions + 1):
        synchronise(setting.device)
        started = time.perf_counter()
        for _ in range(calls):
            run()
        synchronise(setting.device)
        taken.append((time.perf_counter() - started) / calls)
    return statistics.median(taken[1:])  # the first warms up
