"""One network's evaluation on one split: on a terminal, as JSON, and its confusion as CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from replication.metrics import Counts, iou, mean_iou
from replication.protocol import Evaluation


@dataclass(frozen=True, kw_only=True)
class Score:
    """One inference strategy: `confusion` (C, C) counts pixels, rows the truth."""

    strategy: Evaluation
    # Whether the network lets its output stride be chosen.
    any_stride: bool
    confusion: Counts

    @property
    def words(self) -> str:
        one = self.strategy
        stride = f"output stride {one.output_stride}, " if self.any_stride else ""
        scales = ", ".join(f"{scale:g}" for scale in one.scales)
        flip = ", left and right flipped as well" if one.flip else ""
        return f"{stride}scale{'s' if len(one.scales) > 1 else ''} {scales}{flip}"

    @property
    def miou(self) -> float:
        return mean_iou(self.confusion)

    @property
    def pixel_accuracy(self) -> float:
        """Percent of the labelled pixels that are right."""
        return float(100.0 * np.trace(self.confusion) / self.confusion.sum())

    @property
    def per_class(self) -> list[float | None]:
        """IoU in percent; None for a class that neither truth nor prediction has."""
        return [None if np.isnan(v) else 100.0 * float(v) for v in iou(self.confusion)]

    @property
    def occurring(self) -> int:
        return sum(value is not None for value in self.per_class)


def terminal(
    scores: Sequence[Score],
    classes: Sequence[str],
    about: Mapping[str, Any],
    notes: Sequence[str],
    console: Console,
) -> None:
    """What was evaluated and how, then a column for each strategy and a row for each class."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    for line in _head(about):
        say(line)
    several = len(scores) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class")
    for number, score in enumerate(scores, 1):
        say(f"strategy  {f'({number}) ' if several else ''}{score.words}")
        table.add_column(f"IoU ({number})" if several else "IoU", justify="right", no_wrap=True)
    for index, name in enumerate(classes):
        table.add_row(Text(name), *(_entry(score, index) for score in scores))
    table.add_section()
    table.add_row("mean IoU", *(Text(f"{score.miou:.2f}", style="bold") for score in scores))
    table.add_row("over classes", *(f"{score.occurring}" for score in scores))
    table.add_row("pixel accuracy", *(f"{score.pixel_accuracy:.2f}" for score in scores))
    console.print(table, highlight=False)
    if any(score.occurring < len(classes) for score in scores):
        say("absent: in neither truth nor prediction; left out of the mean", "dim")
    if any(((one.confusion.sum(1) == 0) & (one.confusion.sum(0) > 0)).any() for one in scores):
        say("*: predicted, but nowhere in the truth; counts as 0 in the mean", "dim")
    published = about["published"]
    if published:
        whose = "these very weights" if published["same_weights"] else "its own weights, not these"
        say(
            f"published {published['miou']:.1f} mIoU and {published['pixel_accuracy']:.1f} pixel "
            f"accuracy with {whose}, on {published['conditions']}: not the same set, "
            "not comparable to the digit"
        )
        say(f"          {published['source']}")
    for note in notes:
        say(f"note      {note}", "yellow")


def _head(about: Mapping[str, Any]) -> list[str]:
    digest = f" (sha256 {about['weights_sha256'][:12]}…)" if about["weights_sha256"] else ""
    lines = [f"model     {about['model']}", f"weights   {about['weights']}{digest}"]
    account = about["account"]
    if account:
        tallies = ", ".join(
            f"{len(account[kind])} {kind}" for kind in ("missing", "unused", "mismatched")
        )
        lines.append(f"          {account['loaded']} tensors loaded, {tallies}")
        for kind in ("missing", "unused"):
            if account[kind]:
                layers = dict.fromkeys(name.rpartition(".")[0] for name in account[kind])
                lines.append(f"          {kind}, not needed: {', '.join(layers)}")
    data, crop = about["data"], about["crop_size"]
    lines.append(
        f"data      {data['role']} {data['split']}, {data['at']}: "
        f"{about['images']:,} images, {about['pixels']:,} labelled pixels"
    )
    sizes = [f"a side below {crop} to {crop}"] if crop else []
    if about["size_step"] > 1:
        step = about["size_step"]
        sizes.append(f"{'a longer one' if crop else 'a side'} to a multiple of {step} plus 1")
    padded = f"padded at the bottom and right, {', '.join(sizes)}" if sizes else "not padded"
    lines.append(f"images    whole, {padded}; align_corners={about['align_corners']}")
    return lines


def _entry(score: Score, index: int) -> Text:
    value = score.per_class[index]
    if value is None:
        return Text("absent", style="dim")
    only_predicted = score.confusion[index].sum() == 0
    return Text(f"{'* ' if only_predicted else ''}{value:.2f}")


def to_json(scores: Sequence[Score], classes: Sequence[str], about: Mapping[str, Any]) -> str:
    """`about` first, then every strategy with its numbers and confusion."""
    results = [
        {
            "strategy": score.words,
            "output_stride": score.strategy.output_stride if score.any_stride else None,
            "scales": list(score.strategy.scales),
            "flip": score.strategy.flip,
            "miou": score.miou,
            "classes_that_occur": score.occurring,
            "pixel_accuracy": score.pixel_accuracy,
            "pixels": int(score.confusion.sum()),
            "per_class": dict(zip(classes, score.per_class, strict=True)),
            "confusion": score.confusion.tolist(),
        }
        for score in scores
    ]
    content = {**about, "classes": list(classes), "results": results}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def to_csv(scores: Sequence[Score], classes: Sequence[str]) -> str:
    """Confusion counts: a row for each strategy and true class, a column for each predicted one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["strategy", "truth", *classes])
    for score in scores:
        for name, row in zip(classes, score.confusion.tolist(), strict=True):
            writer.writerow([score.words, name, *row])
    return text.getvalue()
