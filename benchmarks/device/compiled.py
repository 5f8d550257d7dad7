"""Our steps on a GPU with the backbone compiled by torch, with and without CUDA graphs.

Neither is used by a training: a compiled one has other last bits, and wants a compiler there. What
they would be worth is measured here, on a GPU alone; benchmarks/speed/compiled.py has a CPU's.
"""

import statistics
import time
from typing import Any

from benchmarks.device.setting import Setting
from benchmarks.device.training import MOST_STEPS, Ours

# torch.compile's own names: the second replays CUDA graphs.
MODES = ("default", "reduce-overhead")


def measure(setting: Setting, allowance: float) -> dict[str, Any]:
    """Their seconds over the plain step's, bf16, in turn; the compilation itself is left out."""
    until = time.monotonic() + min(allowance, setting.left)
    backbone, output_stride = setting.shapes[0]
    plain = Ours(setting, backbone, output_stride)
    plain.run(2, "bf16")
    found: dict[str, Any] = {"backbone": backbone, "output_stride": output_stride, "modes": {}}
    for mode in MODES:
        if time.monotonic() > until:
            setting.skip(f"compiled steps, {mode}", "no time left in the budget")
            break
        compiled = Ours(setting, backbone, output_stride)
        started = time.monotonic()
        try:
            compiled.model.backbone.compile(mode=mode)
            compiled.run(3, "bf16")
        except RuntimeError as problem:
            setting.skip(f"compiled steps, {mode}", str(problem).strip().splitlines()[0])
            continue
        first = time.monotonic() - started
        ratios = [
            plain.run(MOST_STEPS, "bf16") / compiled.run(MOST_STEPS, "bf16")
            for _ in range(setting.repetitions)
        ]
        found["modes"][mode] = {
            "first_seconds": first,
            "ratios": ratios,
            "faster_by": statistics.median(ratios),
        }
    return found
