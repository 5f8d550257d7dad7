"""Where the time goes, and how near the machine's limits: `python -m benchmarks.limits`.

Table 6's training, in fp32 and bf16, and its evaluation at output stride 8, of the micro tier and
at the paper's crop: the share of every kind of operation, by torch's profiler; and what the counted
FLOPs, and the bytes of all but convolutions, come to beside the matrix products and the copies that
one thread here was measured to reach.
"""

import argparse
import statistics
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.given import at_least_one, writable
from benchmarks.machine import PEAK_REPETITIONS, copies, every, where
from benchmarks.networks import build, iteration, table6, tier
from replication import arguments
from replication.allocation import keep_memory
from replication.environment import has_bf16
from replication.files import write_atomically
from replication.forecast import effort
from replication.network.deeplab import DeepLabV3
from replication.network.folding import folded
from replication.protocol import Precision, Stage

# Tier, classes, pictures a batch (0: the tier's own).
CASES = (("micro", 13, 0), ("paper", 21, 2))
# The gradient of a 3x3 convolution weight by weight (network/atrous.py): products and copies.
BY_TAPS = "_ByTapsBackward"
# What torch calls its operations, by what they are; the first that is part of the name counts.
KINDS = {
    "convolution, backward": ("convolution_backward", "conv2d_backward", BY_TAPS),
    "convolution": ("mkldnn_convolution", "slow_conv", "thnn_conv", "aten::_convolution"),
    "batch norm, backward": ("batch_norm_backward",),
    "batch norm": ("batch_norm",),
    "relu, backward": ("threshold_backward",),
    "relu": ("clamp_min", "relu"),
    "loss and upsampling": (
        "log_softmax", "nll_loss", "bmm", "upsample", "aten::mm", "aten::matmul",
    ),
    "sums and copies": ("add", "copy_", "cat", "fill_", "zero_", "mul", "div", "mean", "sum"),
    "optimiser": ("SGD",),
}  # fmt: skip
OTHER = "other"
UNCOUNTED = "–"
PROFILES = 5


@dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work, and what is counted of it."""

    what: str
    precision: Precision
    run: Callable[[], object]
    effort: effort.Effort


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a piece of work took, and each kind's share of it: medians."""

    work: Work
    seconds: float
    shares: dict[str, float]

    @property
    def convolving(self) -> float:
        """The share of the time that goes into convolutions."""
        return sum(share for kind, share in self.shares.items() if kind.startswith("convolution"))


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What one thread reaches: FLOP/s of matrix products by precision, bytes/s copied."""

    products: Mapping[Precision, float]
    copies: float

    def __str__(self) -> str:
        peaks = (f"{peak / 1e9:.0f} GFLOP/s in {name}" for name, peak in self.products.items())
        return f"products {' and '.join(peaks)}, copies {self.copies / 1e9:.1f} GB/s"


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.limits", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", choices=[case[0] for case in CASES])
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="the same as a page")
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    at_least_one(repetitions=options.repetitions)
    writable(options.write)
    torch.set_num_threads(1)
    keep_memory()
    console = Console(width=120, highlight=False)
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if has_bf16() else ("fp32",)
    peaks = Peaks(products={name: _products(name) for name in precisions}, copies=copies())
    console.print(f"One thread: {peaks}")
    found = []
    for name, classes, batch in CASES:
        if options.only in (None, name):
            for work in _works(name, classes, batch, precisions):
                found.append(_measure(work, options.repetitions))
                _show(found[-1], peaks, console)
    if options.write:
        write_atomically(options.write, page(found, peaks))
    return arguments.EXIT_OK


def rows(found: Found, peaks: Peaks) -> dict[str, str]:
    """A piece of work's line items, and their values in words; bytes are counted in fp32 only."""
    effort, seconds, part = found.work.effort, found.seconds, found.convolving
    products, moved = peaks.products[found.work.precision], effort.moved
    counted = found.work.precision == "fp32"
    return {
        "time": f"{seconds:.3g} s",
        "products": f"{effort.flops / 1e9:.3g} GFLOP",
        "of the peak of products": _percent(effort.flops / seconds / products),
        "... in the time of convolutions": _percent(effort.flops / seconds / part / products),
        "moved outside convolutions": f"{moved / 1e9:.3g} GB" if counted else UNCOUNTED,
        "of the peak of copies, in its time": (
            _percent(moved / seconds / (1 - part) / peaks.copies) if counted else UNCOUNTED
        ),
        **{f"time in: {kind}": _percent(found.shares.get(kind, 0.0)) for kind in (*KINDS, OTHER)},
    }


def page(found: Sequence[Found], peaks: Peaks) -> str:
    told = (
        "`python -m benchmarks.limits --write FILE.md` measures this page: Table 6's "
        f"network, one thread, on {where()}. That thread reaches {peaks} (the best of "
        f"{PEAK_REPETITIONS}). Products are counted, and, in fp32, of bytes those that everything "
        f"but the convolutions must move; shares are medians of {PROFILES} profiles."
    )
    columns = [rows(one, peaks) for one in found]
    lines = ["# How near the machine's limits it is", "", textwrap.fill(told, 100), ""]
    lines.append("| | " + " | ".join(one.work.what for one in found) + " |")
    lines.append("|:--|" + "--:|" * len(found))
    lines += [f"| {name} | " + " | ".join(c[name] for c in columns) + " |" for name in columns[0]]
    return "\n".join(lines) + "\n"


def _products(precision: Precision, side: int = 1024) -> float:
    a = torch.randn(side, side, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * side**3 / min(every(lambda: a @ a, PEAK_REPETITIONS))


def _seconds(run: Callable[[], object], repetitions: int) -> float:
    return statistics.median(every(run, repetitions))


def _works(
    tier_name: str, classes: int, batch: int, precisions: Sequence[Precision]
) -> Iterator[Work]:
    row = table6("os8", tier(tier_name))
    stage = row.stage
    if batch:
        stage = stage.model_copy(update={"batch_size": batch})
    model = build(row.network, classes, stage.output_stride)
    network, side = row.network.config(), stage.crop_size
    for precision in precisions:
        of_it = stage.model_copy(update={"precision": precision})
        yield Work(
            what=f"training, {tier_name}: {side} px, batch {stage.batch_size}, output stride "
            f"{stage.output_stride}, {precision}, one iteration",
            precision=precision,
            run=iteration(model, of_it, classes),
            effort=effort.iteration({"network": network, "stage": of_it.config()}, classes),
        )
    evaluation = {"network": network, "evaluation": row.evaluation.config()}
    yield Work(
        what=f"evaluation, {tier_name}: {side} px, output stride "
        f"{row.evaluation.output_stride}, one picture",
        precision="fp32",
        run=_pass(model, row.evaluation.output_stride, stage),
        effort=effort.sweep([evaluation], classes, {(side, side): 1}, 1),
    )


def _pass(model: DeepLabV3, output_stride: int, stage: Stage) -> Callable[[], object]:
    x = torch.randn(1, 3, stage.crop_size, stage.crop_size)
    x = x.contiguous(memory_format=torch.channels_last)
    network = folded(model)
    network.set_output_stride(output_stride)

    @torch.inference_mode()
    def run() -> None:
        network(x).max(1)

    return run


def _measure(work: Work, repetitions: int) -> Found:
    seconds = _seconds(work.run, repetitions)
    # What a profile itself keeps makes the memory of some operation new to the process, which is
    # then many times slower: of several, the median.
    profiles = [_profile(work.run) for _ in range(PROFILES)]
    times = {kind: statistics.median(one[kind] for one in profiles) for kind in (*KINDS, OTHER)}
    whole = sum(times.values())
    shares = {kind: taken / whole for kind, taken in times.items()}
    return Found(work=work, seconds=seconds, shares=shares)


def _profile(run: Callable[[], object]) -> Counter[str]:
    """Microseconds of each kind of operation."""
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        run()
    times: Counter[str] = Counter()
    for event in profiled.events() or ():
        times[_kind(_named(event))] += event.self_cpu_time_total
    return times


def _show(found: Found, peaks: Peaks, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows(found, peaks).items():
        table.add_row(name, value)
    console.print(found.work.what)
    console.print(table)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _named(event: Any) -> str:
    """An operation's name, or that of the convolution's gradient of which it is a part."""
    above = event
    while above is not None:
        if above.name == BY_TAPS:
            return BY_TAPS
        above = above.cpu_parent
    return str(event.name)


def _kind(name: str) -> str:
    for kind, parts in KINDS.items():
        if any(part in name for part in parts):
            return kind
    return OTHER


if __name__ == "__main__":
    sys.exit(main())
