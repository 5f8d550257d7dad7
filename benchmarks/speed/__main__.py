"""Every speed that is claimed, measured beside something that we did not write.

    python -m benchmarks.speed --data voc=DATA/VOCdevkit
    python -m benchmarks.speed --only step,sweep --json speed.json

Medians of alternating repetitions in one run, and the range of their ratios. Two cores: about
half an hour for all of it. Nothing else should be running.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.speed import pictures, pieces, plan, startup, step, sweep
from benchmarks.speed.alternating import Comparison, show


def main() -> None:
    parts: dict[str, Callable[[int], Iterator[Comparison]]] = {
        "startup": startup.compare,
        "sweep": sweep.compare,
        "pieces": pieces.compare,
        "step": step.compare,
        "plan": plan.compare,
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help=f"of {','.join([*parts, 'input'])}")
    parser.add_argument("--data", metavar="voc=PATH", help="photographs, for the part `input`")
    parser.add_argument("--repetitions", type=int, default=5, help="of each (5)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.repetitions < 1:
        parser.error(f"--repetitions {options.repetitions}: must be at least 1")
    chosen = [name for name in options.only.split(",") if name] or [*parts, "input"]
    for name in chosen:
        if name not in (*parts, "input"):
            parser.error(f"--only {name}: must be of {', '.join([*parts, 'input'])}")
    if options.data:
        voc = Path(options.data.removeprefix("voc="))
        parts["input"] = lambda repetitions: pictures.compare(repetitions, voc)
    console = Console(width=150, highlight=False)
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
    where += f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    console.print(where)
    done: list[Comparison] = []
    for name in chosen:
        if name not in parts:
            console.print("input: not measured; give --data voc=PATH (a VOCdevkit folder)")
            continue
        for one in parts[name](options.repetitions):
            done.append(one)
            console.print(f"{one.what}: {one.speedup:.2f}")
    show(done, console)
    if options.json:
        content = {"where": where, "comparisons": [one.as_json() for one in done]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
