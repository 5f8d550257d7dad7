"""Kill a training again and again, resume it, and compare its weights with an undisturbed run's.

    python -m benchmarks.kill_and_resume --cell table9/batch8 --tier micro --kills 10

The undisturbed run goes to OUT/whole (what is there already is not run again), the other to
OUT/broken. Prints when each `kill -9` of the whole process group fell and whether the weights of
every step are the same bytes. Exit status 1 if they are not.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands import python
from benchmarks.given import at_least_one
from replication import arguments


def weights(results: Path, tier: str) -> dict[str, bytes]:
    files = (results / tier / "steps").glob("train-*/weights.safetensors")
    return {file.parent.name: file.read_bytes() for file in files}


def reached(results: Path, tier: str) -> str:
    """How far the training under way has logged."""
    for log in (results / tier / "steps").glob("train-*.partial/log.jsonl"):
        return log.read_text().splitlines()[-1].split(",")[0].removeprefix("{")
    return "not yet logging"


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.kill_and_resume", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--cell", default="table9/batch8")
    parser.add_argument("--tier", default="micro")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path("results/kill-and-resume"))
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    at_least_one(kills=options.kills)
    whole, broken = options.out / "whole", options.out / "broken"
    shutil.rmtree(broken, ignore_errors=True)

    def command(results: Path) -> list[str]:
        return [
            "-m", "replication.run", "--cell", options.cell, "--tier",
            options.tier, "--results", str(results), "--workers", "1", "--checkpoint-seconds", "1",
        ]  # fmt: skip

    started = time.monotonic()
    python(*command(whole))
    print(f"undisturbed (or already there): {time.monotonic() - started:.0f} s")
    for pretrained in (whole / options.tier / "steps").glob("pretrain-*"):
        shutil.copytree(pretrained, broken / options.tier / "steps" / pretrained.name)
    moments = random.Random(options.seed)
    for number in range(1, options.kills + 1):
        process = subprocess.Popen(
            [sys.executable, *command(broken)],
            cwd=arguments.HOME,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        wait = moments.uniform(6.0, 14.0)
        time.sleep(wait)
        if process.poll() is not None:
            print(f"kill {number}: the run had ended before")
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"kill {number} after {wait:4.1f} s at {reached(broken, options.tier)}", flush=True)
    python(*command(broken))
    ours, theirs = weights(broken, options.tier), weights(whole, options.tier)
    same = bool(ours) and all(ours[step] == theirs.get(step) for step in ours)
    print(f"{len(ours)} trained step(s): {'the same bytes' if same else 'DIFFERENT'}")
    return arguments.EXIT_OK if same else arguments.EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
