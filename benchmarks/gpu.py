"""What a GPU does with the paper's own trainings: `python -m benchmarks.gpu`.

    python -m benchmarks.gpu --budget 420 --json gpu.json
    python -m benchmarks.gpu --quick --device cpu        # does it run?

Needs no data and no network: random weights, generated pictures. In one process, in turn, at least
five repetitions: our trainings of ResNet-101 and ResNet-50 (crop 513, batch 16, output stride 16
and 8) in fp32, TF32 and bf16 beside torchvision's networks under its reference loop, plain and with
--amp; the evaluation at output stride 8 with six scales and flips; what deterministic steps cost;
all of it over the products and copies that the device was measured to reach; and hence the device-
hours of all thirteen tables; at last what compiling the network would be worth. The most telling
comes first; what the budget does not hold is named at the end, as is what does not fit into the
memory. A part that fails is named too, with exit status 1, and loses no other: the file is written
anew after each.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.device import compiled, hours, inference, peaks, training
from benchmarks.device.setting import Setting
from replication import arguments
from replication.environment import commit, processor
from replication.errors import ReplicationError
from replication.files import write_atomically

# Seconds of the budget's 420 that each part may take at most.
BUDGET = 420.0
CONTEST = (110.0, 70.0, 90.0, 70.0)
PEAKS, INFERENCE, DETERMINISM, LAUNCHING, COMPILED = 10.0, 50.0, 60.0, 8.0, 90.0


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--budget", type=float, default=BUDGET, metavar="SECONDS",
        help=f"begin nothing new after so long (default: {BUDGET:g})",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    parser.add_argument(
        "--quick", action="store_true", help="small networks and pictures: shows that it runs"
    )
    options = parser.parse_args(given)
    if not options.budget > 0:
        parser.error(f"--budget {options.budget:g}: must be above 0")
    return arguments.guarded(lambda: _main(options))


@dataclass(frozen=True, kw_only=True)
class Part:
    """One measurement, and the seconds of BUDGET that it may take."""

    what: str
    seconds: float
    # Gets its seconds of the budget given.
    measure: Callable[[float], Any]
    # Where its numbers go.
    key: str


def _main(options: argparse.Namespace) -> int:
    device = arguments.device(options.device)
    if device == "cpu" and not options.quick:
        raise ReplicationError(
            "no GPU here: give --quick to see that this runs; on a CPU, benchmarks.speed measures"
        )
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    setting = Setting.of(device, quick=options.quick, budget=options.budget)
    result: dict[str, Any] = {"where": where(setting), "quick": options.quick, "peaks": {}}
    result |= {"trainings": [], "failed": [], "skipped": setting.skipped}

    def keep() -> None:
        if options.json:
            write_atomically(options.json, json.dumps(result, indent=1) + "\n")

    keep()
    known = {name: value for name, value in result["where"].items() if value is not None}
    console.print(", ".join(f"{name} {value}" for name, value in known.items()))
    if options.quick:
        console.print("--quick: small networks and pictures; no number here is a measurement")
    for part in parts(setting, result):
        seconds = part.seconds * options.budget / BUDGET
        if setting.left < 0.2 * seconds:
            setting.skip(part.what, "no time left in the budget")
            continue
        found, problem = attempt(partial(part.measure, seconds))
        # Not where it was caught: an error holds its tensors.
        _, stuck = attempt(partial(training.release, setting))
        if problem := problem or stuck:
            setting.skip(part.what, problem)
            result["failed"].append(part.what)
        elif part.key == "trainings":
            result["trainings"].append(found)
        else:
            result[part.key] = found
        console.print(f"{part.what}: {problem or 'done'}, {setting.left:.0f} s left")
        keep()
    result["hours"] = hours.all_tables(result["trainings"], result.get("evaluation"))
    show(result, console)
    keep()
    if options.json:
        console.print(f"written: {options.json}")
    return arguments.EXIT_FAILED if result["failed"] else arguments.EXIT_OK


def parts(setting: Setting, result: Mapping[str, Any]) -> Iterator[Part]:
    """In the order in which they are run; what was measured before is in `result`."""

    def contest(number: int) -> Part:
        backbone, stride = setting.shapes[number]
        return Part(
            what=f"training of {backbone}, output stride {stride}",
            seconds=CONTEST[number],
            measure=lambda seconds: training.contest(
                setting, backbone, stride, seconds, result["peaks"]
            ),
            key="trainings",
        )

    yield Part(what="peaks", seconds=PEAKS, measure=lambda _: peaks.measure(setting), key="peaks")
    first, *others = range(len(setting.shapes))
    yield contest(first)
    yield Part(
        what="evaluation",
        seconds=INFERENCE,
        measure=lambda seconds: inference.measure(setting, seconds, result["peaks"]),
        key="evaluation",
    )
    yield from map(contest, others[:1])
    yield Part(
        what="deterministic steps",
        seconds=DETERMINISM,
        measure=lambda seconds: training.determinism(setting, seconds),
        key="determinism",
    )
    yield Part(
        what="launching",
        seconds=LAUNCHING,
        measure=lambda _: training.launching(setting),
        key="launching",
    )
    yield from map(contest, others[1:])
    if setting.device.type == "cuda":
        yield Part(
            what="compiled steps",
            seconds=COMPILED,
            measure=lambda seconds: compiled.measure(setting, seconds),
            key="compiled",
        )


def attempt(run: Callable[[], Any]) -> tuple[Any, str]:
    """What it gives, and the first line of what went wrong: one part's fault loses no other."""
    try:
        return run(), ""
    except (RuntimeError, ReplicationError) as problem:
        return None, (str(problem).strip() or type(problem).__name__).splitlines()[0]


def where(setting: Setting) -> dict[str, Any]:
    on_gpu = setting.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(setting.device) if on_gpu else processor(),
        "memory_gb": round(torch.cuda.mem_get_info(setting.device)[1] / 1e9) if on_gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,  # type: ignore[no-untyped-call]
        **commit(),
    }


def show(result: dict[str, Any], console: Console) -> None:
    if reached := result["peaks"]:
        shown = [f"{name} {rate / 1e12:.1f}" for name, rate in reached.items() if name != "copy"]
        console.print(
            f"measured peaks: {', '.join(shown)} TFLOP/s, copies {reached['copy'] / 1e9:.0f} GB/s"
        )
    for one in result["trainings"]:
        gflops = one["gflops_per_image"].items()
        counted = " and ".join(f"{whose} {count:.0f}" for whose, count in gflops)
        title = f"{one['what']} (GFLOP an image and step: {counted})"
        console.print(_rates(title, one["contestants"]))
        table = _table("speed-up", ("ours", "theirs", "theirs is", "times", "range"))
        for pair in one["ratios"]:
            ratios = pair["ratios"]
            span = f"{min(ratios):.2f} to {max(ratios):.2f}"
            median = f"{statistics.median(ratios):.2f}"
            table.add_row(pair["ours"], pair["theirs"], pair["theirs_is"], median, span)
        console.print(table)
    if evaluation := result.get("evaluation"):
        console.print(_rates(f"evaluation: {evaluation['what']}", evaluation["precisions"]))
        for pixels, rate in evaluation["batch_pixels"].items():
            console.print(f"  bf16, {int(pixels):,} pixels in a batch: {rate:.2f} images/s")
    for name, cost in result.get("determinism", {}).items():
        if isinstance(cost, dict):
            ratios = cost["slower_by"]
            console.print(
                f"deterministic, {name}: {statistics.median(ratios):.2f} times the time "
                f"({min(ratios):.2f} to {max(ratios):.2f}); two trainings alike to the bit: "
                f"{_yes(cost['same_bits'])}, without it: {_yes(cost['same_bits_without'])}"
            )
    if launching := result.get("launching"):
        taken = 1000 * statistics.median(launching["seconds"])
        console.print(
            f"starting the kernels of a step of {launching['backbone']} takes {taken:.1f} ms, seen "
            "on two crops of 33: what a CUDA graph could save at most"
        )
    if found := result.get("compiled"):
        for mode, one in found["modes"].items():
            console.print(
                f"backbone by torch.compile, mode {mode}: {one['faster_by']:.2f} times as fast, "
                f"after {one['first_seconds']:.0f} s for the first steps; not used by trainings"
            )
    for name, one in ({} if result["quick"] else result["hours"]).items():
        console.print(
            f"all thirteen tables, {name}: {one['hours']:.0f} device-hours ({one['trainings']} "
            f"trainings {one['training_hours']:.0f}, {one['evaluations']} evaluations "
            f"{one['evaluation_hours']:.0f}), by the rates of {one['rates_measured']} shapes"
        )
    for line in result["skipped"]:
        console.print(f"not measured: {line}")


def _rates(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    table = _table(title, ("", "steps/s", "images/s", "TFLOP/s", "of peak", "peak memory, GB"))
    for name, row in rows.items():
        share, memory = row["of_measured_peak"], row["peak_bytes"]
        table.add_row(
            name,
            f"{row['steps_per_second']:.2f}" if "steps_per_second" in row else "",
            f"{row['images_per_second']:.2f}",
            f"{row['flops_per_second'] / 1e12:.2f}",
            "" if share is None else f"{100 * share:.0f} %",
            "" if memory is None else f"{memory / 1e9:.1f}",
        )
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right")
    return table


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    sys.exit(main())
