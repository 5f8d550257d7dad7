"""What an evaluation sweep costs: `python -m benchmarks.evaluation [--images N] [--repeat R]`.

Table 4's four strategies on the micro tier's network (block7, multi-grid 1-2-1), one thread:
together in one sweep, one by one, and the first and last alone; then the sweep in batches of
several sizes. The runs alternate, and every ratio is taken within its repetition.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from replication import evaluation, inference
from replication.data.sources import Sources
from replication.network.deeplab import build
from replication.spec import load_tables
from replication.tiers import load_tier, scale

HERE = Path(__file__).resolve().parents[1]


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def report(name: str, ratios: list[float]) -> None:
    print(f"{name:<58} {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=62)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tier = load_tier("micro", HERE / "tiers")
    cells = [scale(cell, tier) for cell in load_tables(HERE / "tables", [4])[0].cells]
    strategies = [cell.evaluation for cell in cells if cell.evaluation is not None]
    network = cells[0].network
    assert network is not None
    data = Sources.of(tier.data, {}).segmentation("voc", "dev")
    n = options.images
    data = dataclasses.replace(
        data, ids=data.ids[:n], sizes=data.sizes[:n], offsets=data.offsets[:n]
    )
    model = build(network, len(data.classes), 16, torch.Generator().manual_seed(0))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(chosen: list[evaluation.Evaluation]) -> float:
        return seconds(lambda: evaluation.evaluate(model, data, chosen))

    default = inference.BATCH_PIXELS["cpu"]
    together, batches = [], {images: [] for images in (1, 3, 15, 31, 62)}  # type: ignore[var-annotated]
    one_by_one, first_and_last = [], []
    run(strategies[:1])
    for _ in range(options.repeat):
        whole = run(strategies)
        alone = [run([one]) for one in strategies]
        together.append(whole)
        one_by_one.append(whole / sum(alone))
        first_and_last.append(whole / (alone[0] + alone[-1]))
        for images, ratios in batches.items():
            inference.BATCH_PIXELS["cpu"] = images * 65 * 65
            ratios.append(run(strategies) / whole)
        inference.BATCH_PIXELS["cpu"] = default
    print(f"{n} images, {options.repeat} repetitions, sweep {statistics.median(together):.1f} s")
    print("ratio of times                                              median  (range)")
    report("sweep / the four strategies one by one", one_by_one)
    report("sweep / the last alone plus the first alone", first_and_last)
    for images, ratios in batches.items():
        report(f"sweep in batches of {images} / of {default // 65**2}", ratios)


if __name__ == "__main__":
    main()
