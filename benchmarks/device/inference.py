"""The paper's inference: output stride 8, six scales, flips, whole images, counted."""

import statistics
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.device.setting import Setting, rotated, synchronise
from benchmarks.device.training import release
from benchmarks.networks import CLASSES, build
from replication import evaluation, inference
from replication.network.deeplab import DeepLabV3
from replication.protocol import Precision


def measure(setting: Setting, allowance: float, peaks: dict[str, float]) -> dict[str, Any]:
    """Images/s in each precision, in turn; then in batches of other sizes at the quickest."""
    until = time.monotonic() + min(allowance, setting.left)
    device, backbone = setting.device, setting.shapes[0][0]
    strategy, data = setting.evaluation(), setting.pictures(2 if setting.quick else 12)
    network = setting.network(backbone)
    model = build(network, CLASSES, 16, device)
    flops = _flops(setting, backbone)

    def run(precision: Precision) -> float:
        synchronise(device)
        started = time.perf_counter()
        evaluation.evaluate(model, data, [strategy.model_copy(update={"precision": precision})])
        return time.perf_counter() - started

    seconds: dict[Precision, list[float]] = {}
    peak: dict[str, int | None] = {}
    for precision in setting.precisions:
        try:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            run(precision)
            peak[precision] = (
                torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
            )
            seconds[precision] = []
        except torch.OutOfMemoryError:
            setting.skip(f"evaluation {precision}", "does not fit into the device's memory")
        release(setting)
    for repetition in range(setting.repetitions if seconds else 0):
        if repetition and time.monotonic() > until:
            setting.skip("evaluation", f"{repetition} repetitions, then no time left")
            break
        for precision in rotated(list(seconds), repetition):
            seconds[precision].append(run(precision))
    rows = {}
    for name, taken in seconds.items():
        rate = len(data) / statistics.median(taken)
        best = peaks.get(name)
        rows[name] = {
            "seconds": taken,
            "images_per_second": rate,
            "peak_bytes": peak[name],
            "flops_per_second": rate * flops,
            "of_measured_peak": rate * flops / best if best else None,
        }
    found = {"what": f"{backbone}, output stride 8, {len(strategy.scales)} scales, flips",
             "gflops_per_image": flops / 1e9, "precisions": rows, "batch_pixels": {}}  # fmt: skip
    if rows and device.type == "cuda":
        found["batch_pixels"] = _batches(setting, until, run, len(data))
    return found


def _batches(setting: Setting, until: float, run: Any, images: int) -> dict[str, float]:
    """Images/s in bf16, by pixels in a batch: is BATCH_PIXELS a good choice here?"""
    default, found = inference.BATCH_PIXELS["cuda"], {}
    try:
        for pixels in (default // 4, default, 4 * default):
            if time.monotonic() > until:
                break
            inference.BATCH_PIXELS["cuda"] = pixels
            run("bf16")
            found[str(pixels)] = images / statistics.median(run("bf16") for _ in range(3))
    except torch.OutOfMemoryError:
        setting.skip(f"evaluation, {pixels:,} pixels in a batch", "does not fit into the memory")
    finally:
        inference.BATCH_PIXELS["cuda"] = default
    return found


def _flops(setting: Setting, backbone: str) -> float:
    """Of all passes over one picture, counted by torch on a network without memory."""
    strategy, total = setting.evaluation(), 0
    with torch.device("meta"):
        model = DeepLabV3(setting.network(backbone), CLASSES, strategy.output_stride).eval()
        for _, scale, _ in inference.passes([strategy]):
            side = inference.scaled_size(setting.crop, scale)
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                model.coarse_logits(torch.empty(1, 3, side, side))
            total += counter.get_total_flops()
    return float(total)
