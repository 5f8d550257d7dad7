"""The command: any network through this project's evaluation.

python -m replication.evaluate --model torchvision:deeplabv3_resnet101 --weights FILE --data voc=DIR
python -m replication.evaluate --model mymodule:make --data cityscapes=DIR --scales 0.75,1,1.25
python -m replication.evaluate --model record:results/micro/steps/train-… --data voc=DIR --flip both
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from replication import arguments, guard
from replication.arguments import EXIT_OK, guarded
from replication.data import layouts
from replication.data.layouts import Listing
from replication.data.sources import Sources, cache_folder
from replication.errors import DataError, ReplicationError
from replication.files import write_atomically
from replication.metrics import Counts
from replication.protocol import Evaluation
from replication.render import scores
from replication.render.scores import Score

if TYPE_CHECKING:
    from replication.data.cache import Pictures
    from replication.data.reading import Bytes
    from replication.evaluation import Segmenter
    from replication.models import Loaded

ROLES = ("voc", "coco", "cityscapes")
PANEL_ROWS = 6
# The smallest crop that the protocol knows; images of their own size are larger.
OWN_SIZE = 9
LINE_SECONDS = 60.0


def parser() -> argparse.ArgumentParser:
    result = arguments.Parser(
        prog="python -m replication.evaluate",
        description="Evaluate any segmentation network as this project evaluates its own: whole "
        "images, one confusion matrix over the set.",
        epilog="--output-stride and --scales can be given several times, and --flip both: every "
        "combination is evaluated, in one sweep. "
        "Exit status: 0 done, 2 wrong input, 130 interrupted.",
    )
    what = result.add_argument_group("what to evaluate")
    what.add_argument(
        "--model", required=True, metavar="MODEL",
        help="torchvision:NAME, record:FOLDER (a results/TIER/steps/train-…), or module:callable, "
        "which returns a module or function that maps normalised images (N, 3, H, W) to logits "
        '(N, C, h, w) or a dict with them under "out"',
    )  # fmt: skip
    what.add_argument("--weights", type=Path, metavar="FILE", help="a state dict for the model")
    what.add_argument(
        "--random", action="store_true", help="torchvision's network as it is initialised"
    )
    what.add_argument(
        "--data", required=True, action="append", metavar="ROLE=PATH",
        help=f"the set; ROLE is {' or '.join(ROLES)}",
    )  # fmt: skip
    what.add_argument("--split", default="val", help="default: val")
    what.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    how = result.add_argument_group("how")
    how.add_argument(
        "--output-stride", type=int, action="append", metavar="N",
        help="record: only (default: as in its training)",
    )  # fmt: skip
    how.add_argument(
        "--scales", action="append", metavar="S,S,…", help="e.g. 0.5,0.75,1.0 (default: 1)"
    )
    how.add_argument(
        "--flip", nargs="?", const="yes", default="no", choices=("no", "yes", "both"),
        help="left and right flipped images as well; both: without and with",
    )  # fmt: skip
    how.add_argument(
        "--crop-size", type=int, default=513, metavar="N",
        help="images are padded at the bottom and right to at least this (default: 513, as the "
        "paper; 0: no padding)",
    )  # fmt: skip
    how.add_argument(
        "--whole-image", choices=("padded", "resized"), default="padded",
        help="resized: to the crop, its aspect not kept, and predictions back (default: padded)",
    )  # fmt: skip
    how.add_argument(
        "--align-corners", action=argparse.BooleanOptionalAction, default=None,
        help="how inputs and logits are resized (default: a record's own way, else no)",
    )  # fmt: skip
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    how.add_argument(
        "--no-cache", action="store_true", help="read pictures from their files, decode none ahead"
    )
    out = result.add_argument_group("what to write")
    out.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    out.add_argument("--csv", type=Path, metavar="FILE", help="confusion, rows the truth")
    out.add_argument(
        "--panel", type=Path, metavar="FILE", help="a PNG: photographs, truth, first strategy"
    )
    out.add_argument(
        "--panel-ids", metavar="ID,ID,…", help=f"its images (default: the first {PANEL_ROWS})"
    )
    return result


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(given)
    console = Console(width=None if sys.stdout.isatty() else 120)
    return guarded(lambda: _main(options, console))


def _main(options: argparse.Namespace, console: Console) -> int:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    [data_given, *more] = options.data
    role, _, at = data_given.partition("=")
    if role not in ROLES or not at:
        raise ReplicationError(f"--data {data_given}: must be ROLE=PATH, ROLE {' or '.join(ROLES)}")
    if more:
        raise ReplicationError(f"--data {more[0]}: one set at a time")
    wanted = _wanted(options)
    sources = Sources.of({}, {role: at}, cached=not options.no_cache)
    listing = _limited(layouts.listing(role, sources.by_role[role].root(), options.split), options)
    drawn = _panel_ids(options, listing)

    from replication.models import load_model  # imports torch

    device = arguments.device(options.device)
    loaded = load_model(
        options.model,
        listing.classes,
        weights=options.weights,
        random=options.random,
        align_corners=options.align_corners,
    )
    strategies = _strategies(wanted, role, options, loaded)
    notes = _seen_in_training(loaded, sources, role, options.split)
    data = _decoded(listing, options.no_cache, say)
    loaded.model.to(device)
    confusions, predicted = _sweep(loaded.model, data, strategies, drawn, device, console)
    results = [
        Score(strategy=one, any_stride=loaded.any_stride, confusion=confusion)
        for one, confusion in zip(strategies, confusions, strict=True)
    ]
    about = _about(options, loaded, role, data, results[0], device)
    try:
        scores.terminal(results, data.classes, about, notes, console)
    finally:  # whatever becomes of the terminal: it may be a closed pipe
        written = []
        if options.json:
            text = scores.to_json(results, data.classes, about)
            written.append(write_atomically(options.json, text))
        if options.csv:
            written.append(write_atomically(options.csv, scores.to_csv(results, data.classes)))
        if options.panel:
            written.append(_panel(options.panel, data, drawn, predicted))
    for path in written:
        say(f"written: {path}")
    return EXIT_OK


def _wanted(options: argparse.Namespace) -> list[tuple[int | None, tuple[float, ...], bool]]:
    """Every combination asked for, checked: output stride (None: the model's), scales, flip."""
    if options.crop_size != 0 and options.crop_size < OWN_SIZE:
        raise ReplicationError(
            f"--crop-size {options.crop_size}: must be 0 (no padding) or at least {OWN_SIZE}"
        )
    if options.crop_size == 0 and options.whole_image == "resized":
        raise ReplicationError("--whole-image resized: give the size to resize to as --crop-size")
    if options.limit is not None and options.limit < 1:
        raise ReplicationError(f"--limit {options.limit}: must be at least 1")
    if options.panel_ids and not options.panel:
        raise ReplicationError("--panel-ids: goes with --panel FILE.png")
    if options.panel and options.panel.suffix.lower() != ".png":
        raise ReplicationError(f"--panel {options.panel}: must be a .png")
    for stride in options.output_stride or []:
        if not (4 <= stride <= 256 and stride & (stride - 1) == 0):
            raise ReplicationError(
                f"--output-stride {stride}: must be a power of two from 4 to 256"
            )
    flips = {"no": (False,), "yes": (True,), "both": (False, True)}[options.flip]
    strides = dict.fromkeys(options.output_stride or [None])
    scales = dict.fromkeys(_scales(text) for text in options.scales or ["1"])
    return [(stride, some, flip) for stride in strides for some in scales for flip in flips]


def _scales(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or len(set(values)) < len(values) or not all(0 < v <= 4 for v in values):
        raise ReplicationError(
            f"--scales {text}: must be different numbers above 0 and up to 4, e.g. 0.5,0.75,1.0"
        )
    return values


def _limited(listing: Listing, options: argparse.Namespace) -> Listing:
    n = options.limit
    return replace(listing, ids=listing.ids[:n], images=listing.images[:n], masks=listing.masks[:n])


def _panel_ids(options: argparse.Namespace, listing: Listing) -> list[str]:
    if not options.panel:
        return []
    ids = options.panel_ids.split(",") if options.panel_ids else listing.ids[:PANEL_ROWS]
    for id_ in ids:
        if id_ not in listing.ids:
            among = f" (with --limit {options.limit})" if options.limit else ""
            raise ReplicationError(
                f"--panel-ids: {id_!r} is not in {listing.split}{among}; "
                f"there are {len(listing.ids):,}, from {listing.ids[0]} to {listing.ids[-1]}"
            )
    return list(dict.fromkeys(ids))


def _strategies(
    wanted: Sequence[tuple[int | None, tuple[float, ...], bool]],
    role: str,
    options: argparse.Namespace,
    loaded: Loaded,
) -> list[Evaluation]:
    if options.output_stride and not loaded.any_stride:
        raise ReplicationError(
            f"--output-stride: only record: models let it be chosen; {loaded.name} has its own"
        )
    strategies = []
    for stride, scales, flip in wanted:
        try:
            loaded.model.set_output_stride(stride or loaded.model.output_stride)
        except ValueError as error:
            raise ReplicationError(f"--output-stride {stride}: {error}") from None
        strategies.append(
            Evaluation(
                data=cast(Literal["voc", "coco", "cityscapes"], role),
                split=options.split,
                output_stride=stride or loaded.model.output_stride,
                crop_size=options.crop_size or OWN_SIZE,
                whole_image=options.whole_image,
                scales=scales,
                flip=flip,
            )
        )
    return strategies


def _seen_in_training(loaded: Loaded, sources: Sources, role: str, split: str) -> list[str]:
    """Refuses a record that was trained on these pictures; says what could not be looked up."""
    notes = []
    if loaded.lost:
        notes.append(
            f"the record {loaded.lost}, from which this one started, is not beside it: "
            f"whether it was trained on pictures of {split} is not known"
        )
    for step in loaded.chain:
        try:
            leaks = guard.chain_leaks([step], {"data": {"role": role, "split": split}}, sources)
        except DataError as problem:
            notes.append(f"{step.id}: whether it was trained on these pictures: {problem}")
            continue
        if leaks:
            raise ReplicationError(f"{step.id}: {leaks[0]}")
    return notes


def _decoded(listing: Listing, uncached: bool, say: Callable[[str], None]) -> Pictures:
    from replication.data import cache

    if uncached:
        return cache.undecoded(listing, cache_folder())
    return cache.decode(listing, cache_folder(), announce=lambda size: say(f"decoding {size}"))


def _sweep(
    model: Segmenter,
    data: Pictures,
    strategies: Sequence[Evaluation],
    drawn: Sequence[str],
    device: str,
    console: Console,
) -> tuple[list[Counts], dict[str, Bytes]]:
    """Confusion (C, C) of every strategy, and the first one's predictions of the images drawn."""
    import torch

    from replication.evaluation import count, predict

    classes = model.num_classes
    confusions = [np.zeros((classes, classes), dtype=np.int64) for _ in strategies]
    kept: dict[str, Bytes] = {}
    last_line = time.monotonic()
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=len(data))
        done = 0
        try:
            for batch in predict(model, data, strategies):
                for confusion, predicted in zip(confusions, batch.by_strategy, strict=True):
                    confusion += count(predicted, batch.masks, classes).sum(0).cpu().numpy()
                for row, i in enumerate(batch.images):
                    if data.ids[i] in drawn:
                        h, w = batch.sizes[row].tolist()
                        first = batch.by_strategy[0][row, :h, :w]
                        kept[data.ids[i]] = first.cpu().numpy().astype(np.uint8)
                done += len(batch.images)
                bar.update(task, completed=done)
                if not console.is_terminal and time.monotonic() - last_line > LINE_SECONDS:
                    last_line = time.monotonic()
                    console.print(f"evaluating: {done}/{len(data)}", highlight=False)
        except torch.OutOfMemoryError:
            raise ReplicationError(
                f"out of memory on {device}: fewer or smaller --scales, a larger --output-stride, "
                "or --device cpu"
            ) from None
    if not confusions[0].any():
        raise DataError(f"split {data.split!r}: no labelled pixel in {len(data)} images")
    return confusions, kept


def _about(
    options: argparse.Namespace,
    loaded: Loaded,
    role: str,
    data: Pictures,
    score: Score,
    device: str,
) -> dict[str, Any]:
    """What was evaluated, on what, and how: the JSON's head."""
    from replication.environment import describe

    account = loaded.account
    return {
        "model": loaded.name,
        "weights": loaded.weights,
        "weights_sha256": loaded.sha256,
        "account": account and {**vars(account), "loaded": len(account.loaded)},
        "data": {"role": role, "at": options.data[0].partition("=")[2], "split": data.split},
        "images": len(data),
        "pixels": int(score.confusion.sum()),
        "crop_size": options.crop_size,
        "whole_image": options.whole_image,
        "size_step": loaded.model.size_step,
        "align_corners": loaded.model.align_corners,
        "published": vars(loaded.published) if loaded.published else None,
        "environment": describe(device),
    }


def _panel(
    path: Path, data: Pictures, drawn: Sequence[str], predicted: Mapping[str, Bytes]
) -> Path:
    from replication.render.panel import Row, panel

    at = {id_: i for i, id_ in enumerate(data.ids)}
    rows = [
        Row(
            photograph=np.array(data.image(at[id_])),
            truth=np.array(data.mask(at[id_])),
            prediction=predicted[id_],
        )
        for id_ in drawn
    ]
    return panel(rows, data.classes, path)


if __name__ == "__main__":
    sys.exit(main())
