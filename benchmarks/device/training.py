"""Training steps: our loop beside torchvision's network under its reference loop, in turn.

Ours is `replication.training.train` as a run calls it: pictures gathered, scaled, cropped, flipped,
normalised, the loss logged. Theirs gets one batch that lies on the device, ready: its input costs
nothing. torchvision's network strides in the first unit of a block where the paper strides in the
last, and its head has one 3x3 convolution more; FLOPs of both are counted and printed.
"""

import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.device.setting import Setting, rotated, synchronise
from benchmarks.networks import CLASSES, UNITS, build, torchvisions
from replication.arithmetic import arithmetic
from replication.network.deeplab import DeepLabV3
from replication.protocol import Precision
from replication.training import LOG_EVERY, Report, train

# A repetition takes about as long, in at most so many steps: the loss is logged twice in it.
REPETITION_SECONDS, MOST_STEPS = 0.6, LOG_EVERY
# Ours, theirs, and what theirs is. PyTorch by itself lets convolutions round to TF32: the plain
# loop, as anyone runs it, is "tf32".
PAIRS = (
    ("ours bf16", "theirs amp", "reference loop with --amp (fp16)"),
    ("ours fp32", "theirs fp32", "plain loop, TF32 off"),
    ("ours tf32", "theirs tf32", "plain loop as it comes, TF32 convolutions"),
    ("ours bf16", "theirs tf32", "plain loop as it comes, TF32 convolutions"),
)
# On a CPU: --quick only.
CPU_PAIRS = (
    ("ours bf16", "theirs amp", "reference loop under autocast"),
    ("ours fp32", "theirs fp32", "plain loop"),
)


class Ours:
    """Our network, and steps of our training loop on it."""

    def __init__(self, setting: Setting, backbone: str, output_stride: int, **changed: int) -> None:
        self.setting = setting
        self.stage = setting.stage(output_stride).model_copy(update=changed)
        self.data = setting.pictures(2 * setting.batch)
        network = setting.network(backbone)
        self.model = build(network, CLASSES, output_stride, setting.device)

    def run(self, steps: int, precision: Precision, *, deterministic: bool = False) -> float:
        """Seconds of so many iterations, the logged loss and the set's way there included."""
        assert steps <= LOG_EVERY
        ended: list[float] = []

        def report(_: Report) -> None:
            synchronise(self.setting.device)
            ended.append(time.perf_counter())

        changed = {"iterations": steps, "precision": precision, "deterministic": deterministic}
        with tempfile.TemporaryDirectory() as folder:
            synchronise(self.setting.device)
            started = time.perf_counter()
            train(
                self.model,
                self.stage.model_copy(update=changed),
                self.data,
                seed=0,
                folder=Path(folder),
                report=report,
                checkpoint_seconds=math.inf,
            )
        return ended[-1] - started


class Theirs:
    """torchvision's network without auxiliary head, under its reference script's loop."""

    def __init__(self, setting: Setting, backbone: str, output_stride: int) -> None:
        self.setting, device = setting, setting.device
        self.model = their_network(backbone, output_stride, quick=setting.quick).to(device).train()
        shape = (setting.batch, setting.crop, setting.crop)
        self.x = torch.randn(shape[0], 3, *shape[1:], device=device)
        self.labels = torch.randint(0, CLASSES, shape, device=device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4
        )
        self.schedule = torch.optim.lr_scheduler.PolynomialLR(self.optimizer, 30_000, power=0.9)
        self.scaler = torch.amp.grad_scaler.GradScaler(device.type, enabled=device.type == "cuda")

    def run(self, steps: int, kind: str) -> float:
        """Seconds of so many iterations; `kind` is "fp32", "tf32" or "amp"."""
        device, amp = self.setting.device, kind == "amp"
        half = torch.float16 if device.type == "cuda" else torch.bfloat16
        switched: Precision = "tf32" if device.type == "cuda" and kind != "fp32" else "fp32"
        with arithmetic(device, switched, deterministic=False, one_size=True):
            synchronise(device)
            started = time.perf_counter()
            for _ in range(steps):
                with torch.autocast(device.type, half, enabled=amp):
                    output = self.model(self.x)["out"]
                    loss = F.cross_entropy(output, self.labels, ignore_index=255)
                self.optimizer.zero_grad()
                if amp:
                    self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                else:
                    loss.backward()  # type: ignore[no-untyped-call]
                    self.optimizer.step()
                self.schedule.step()
                loss.item()  # the reference loop logs every loss
            synchronise(device)
            return time.perf_counter() - started


def their_network(backbone: str, output_stride: int, *, quick: bool) -> nn.Module:
    return torchvisions((1, 1, 1, 1) if quick else UNITS[backbone], output_stride)


def flops_of_a_step(model: nn.Module, crop: int) -> float:
    """Of one picture, forward and backward, counted by torch on a network without memory."""
    x = torch.empty(2, 3, crop, crop, device="meta")
    with FlopCounterMode(display=False) as counter:
        forward = model.coarse_logits if isinstance(model, DeepLabV3) else model
        out = forward(x)
        (out["out"] if isinstance(out, dict) else out).sum().backward()
    return counter.get_total_flops() / 2


def contest(
    setting: Setting, backbone: str, output_stride: int, allowance: float, peaks: dict[str, float]
) -> dict[str, Any]:
    """All contestants of one shape in turn; what does not fit, or would take too long, is told."""
    what = f"{backbone}, crop {setting.crop}, batch {setting.batch}, output stride {output_stride}"
    allowance = min(allowance, setting.left)
    until = time.monotonic() + allowance
    with torch.device("meta"):
        ours_flops = flops_of_a_step(
            DeepLabV3(setting.network(backbone), CLASSES, output_stride), setting.crop
        )
        theirs_flops = flops_of_a_step(
            their_network(backbone, output_stride, quick=setting.quick), setting.crop
        )
    ours = Ours(setting, backbone, output_stride)
    theirs = Theirs(setting, backbone, output_stride)
    pairs = PAIRS if setting.device.type == "cuda" else CPU_PAIRS
    runs: dict[str, Callable[[int], float]] = {}
    for mine, other, _ in pairs:
        runs[mine] = partial(ours.run, precision=mine.split()[1])  # type: ignore[arg-type]
        runs[other] = partial(theirs.run, kind=other.split()[1])
    steps, peak = {}, {}
    for name, run in list(runs.items()):
        # A search of the fastest kernels takes some seconds; half of the time is for measuring.
        if time.monotonic() > until - allowance / 2:
            setting.skip(f"{what}, {name}", "no time left in the budget")
        else:
            one = ours if name.startswith("ours") else theirs
            found = _warm(setting, run, one)
            if found is not None:
                steps[name], peak[name] = found
                continue
            setting.skip(f"{what}, {name}", "does not fit into the device's memory")
            release(setting)  # not where it was caught: the error holds its tensors
        del runs[name]
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(setting.repetitions if runs else 0):
        if repetition and time.monotonic() > until:
            setting.skip(f"{what}", f"{repetition} repetitions, then no time left in the budget")
            break
        for name in rotated(list(runs), repetition):
            seconds[name].append(runs[name](steps[name]) / steps[name])
    rows = {}
    for name, taken in seconds.items():
        median = statistics.median(taken)
        flops = setting.batch * (ours_flops if name.startswith("ours") else theirs_flops)
        best = peaks.get({"amp": "bf16"}.get(name.split()[1], name.split()[1]))
        rows[name] = {
            "seconds": taken,
            "steps_per_second": 1 / median,
            "images_per_second": setting.batch / median,
            "peak_bytes": peak[name],
            "flops_per_second": flops / median,
            "of_measured_peak": flops / median / best if best else None,
        }
    ratios = [
        {
            "ours": mine,
            "theirs": other,
            "theirs_is": told,
            "ratios": [t / o for o, t in zip(seconds[mine], seconds[other], strict=True)],
        }
        for mine, other, told in pairs
        if mine in seconds and other in seconds
    ]
    return {
        "what": what,
        "backbone": backbone,
        "output_stride": output_stride,
        "gflops_per_image": {"ours": ours_flops / 1e9, "theirs": theirs_flops / 1e9},
        "contestants": rows,
        "ratios": ratios,
    }


def _warm(
    setting: Setting, run: Callable[[int], float], one: Ours | Theirs
) -> tuple[int, int | None] | None:
    """Steps of a repetition and bytes at the peak, after a first run; None where it does not fit.

    The peak is of a run after the kernels were searched, less what others keep on the device.
    """
    device = setting.device
    try:
        run(1)
        one.model.zero_grad(set_to_none=True)
        synchronise(device)
        if device.type != "cuda":
            return _steps(run(1)), None
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        taken = run(2) / 2
        above = torch.cuda.max_memory_allocated(device) - before
        # What the network itself has there all the time; our momentum is a run's own.
        kept = list(one.model.state_dict().values())
        if isinstance(one, Theirs):
            states = one.optimizer.state.values()
            kept += [state["momentum_buffer"] for state in states if "momentum_buffer" in state]
        return _steps(taken), above + sum(tensor.nbytes for tensor in kept)
    except torch.OutOfMemoryError:
        one.model.zero_grad(set_to_none=True)
        return None


def _steps(seconds: float) -> int:
    return max(1, min(MOST_STEPS, round(REPETITION_SECONDS / seconds)))


def release(setting: Setting) -> None:
    gc.collect()
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()


def launching(setting: Setting) -> dict[str, Any]:
    """Seconds of a step that is nearly nothing but the starting of its kernels: two small crops.

    What a CUDA graph, which starts them all at once, could save of a step at most.
    """
    backbone, output_stride = setting.shapes[0]
    ours = Ours(setting, backbone, output_stride, crop_size=33, batch_size=2)
    ours.run(2, "bf16")
    taken = [ours.run(MOST_STEPS, "bf16") / MOST_STEPS for _ in range(setting.repetitions)]
    return {"backbone": backbone, "output_stride": output_stride, "seconds": taken}


def determinism(setting: Setting, allowance: float) -> dict[str, Any]:
    """What deterministic steps cost, and whether two trainings of the same seed end alike."""
    until = time.monotonic() + min(allowance, setting.left)
    backbone, output_stride = setting.shapes[0]
    found: dict[str, Any] = {"backbone": backbone, "output_stride": output_stride}
    for precision in setting.precisions[:2]:
        if time.monotonic() > until:
            setting.skip(f"deterministic {precision}", "no time left in the budget")
            break
        try:
            found[precision] = _cost(setting, backbone, output_stride, precision)
        except torch.OutOfMemoryError:
            setting.skip(f"deterministic {precision}", "does not fit into the device's memory")
        except RuntimeError as problem:  # an operation that has no such kernel
            setting.skip(f"deterministic {precision}", str(problem).splitlines()[0])
        release(setting)
    return found


def _cost(
    setting: Setting, backbone: str, output_stride: int, precision: Precision
) -> dict[str, Any]:
    ours = Ours(setting, backbone, output_stride)
    start = {name: t.detach().clone() for name, t in ours.model.state_dict().items()}
    same = {}
    for deterministic in (False, True):
        ends = []
        for _ in range(2):
            ours.model.load_state_dict(start)
            ours.run(3, precision, deterministic=deterministic)
            state = ours.model.state_dict()
            ends.append({name: tensor.detach().clone() for name, tensor in state.items()})
        same[deterministic] = all(torch.equal(ends[0][name], ends[1][name]) for name in start)
    steps = _steps(ours.run(2, precision) / 2)
    ratios = []
    for repetition in range(setting.repetitions):
        taken = {}
        for deterministic in (False, True) if repetition % 2 else (True, False):
            taken[deterministic] = ours.run(steps, precision, deterministic=deterministic)
        ratios.append(taken[True] / taken[False])
    return {
        "slower_by": ratios,
        "same_bits": same[True],
        "same_bits_without": same[False],
    }
