"""The command that writes what a test server scores: predictions of a trained cell, in an archive.

python -m replication.submit --table 7 --data voc=DATA/VOCdevkit
python -m replication.submit --table 13 --data cityscapes=DATA/cityscapes
python -m replication.submit --check ARCHIVE --table 7 --data voc=DATA/VOCdevkit
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal

from replication import arguments
from replication.data import layouts
from replication.data.prepare.meter import Meter
from replication.environment import at_most_cores
from replication.errors import ReplicationError, RunError
from replication.guard import chain_leaks
from replication.protocol import Evaluation
from replication.spec.names import parse, stem
from replication.submission.chain import Asked, asked, trained
from replication.submission.check import faults
from replication.submission.servers import SERVERS, Server


def parser() -> argparse.ArgumentParser:
    result = arguments.Parser(
        prog="python -m replication.submit",
        description="Write the archive of predictions that a test server scores, and check it.",
        epilog="Exit status: 0 done, 1 the archive has faults, 2 wrong input, 130 interrupted.",
    )
    result.add_argument("--table", type=parse, required=True, metavar="N", help="7 or 13")
    result.add_argument("--cell", metavar="ID", help="default: the one that a server scores")
    result.add_argument("--tier", default="paper", metavar="NAME", help="default: paper")
    result.add_argument("--seed", type=int, metavar="S", help="default: the tier's first")
    arguments.add_inputs(result)
    result.add_argument("--no-cache", action="store_true", help="read pictures from their files")
    result.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    result.add_argument("--out", type=Path, metavar="FILE", help="default: under --results")
    result.add_argument(
        "--check", type=Path, metavar="ARCHIVE", help="only check this archive; predict nothing"
    )
    arguments.add_places(result)
    return result


def main(given: Sequence[str] | None = None) -> int:
    options = parser().parse_args(given)
    console = Console(width=None if sys.stdout.isatty() else 120)
    return arguments.guarded(lambda: _main(options, console))


def _main(options: argparse.Namespace, console: Console) -> int:
    wanted = asked(options)
    evaluation = wanted.cell.evaluation
    assert evaluation is not None
    server = SERVERS[evaluation.data]
    root = wanted.sources.by_role[evaluation.data].root()
    listing = layouts.listing(evaluation.data, root, evaluation.split, labelled=False)
    reason = _no_use(wanted, evaluation, server, listing)
    if options.check is not None:
        problems = _checked(options.check, server, listing, console)
        return _tell(options.check, problems, listing, reason, console)
    path = options.out or _place(wanted, server, reason)
    if not path.name.endswith(server.archives):
        raise ReplicationError(f"--out {path}: must end in {' or '.join(server.archives)}")
    if path.is_dir():
        raise ReplicationError(f"--out {path}: is a folder; give a file")
    problems = _submit(wanted, options, evaluation, server, listing, path, console)
    status = _tell(path, problems, listing, reason, console)
    if not problems and not reason:
        _say(console, f"next: upload it to {server.name}, {server.address}")
        again = ["--table", str(options.table), "--cell", wanted.cell.id, "--tier", options.tier]
        again += ["--seed", str(wanted.seed)]
        again += [word for given in options.data for word in ("--data", given)]
        again += [word for given in options.weights for word in ("--weights", given)]
        again += arguments.places(options)
        command = shlex.join(["python", "-m", "replication.record", *again])
        _say(console, f"then enter its score: {command} --miou PERCENT --evidence URL")
    return status


def _submit(
    wanted: Asked,
    options: argparse.Namespace,
    evaluation: Evaluation,
    server: Server,
    listing: layouts.Listing,
    path: Path,
    console: Console,
) -> list[str]:
    """Predict, write beside, check what was written, rename; returns the faults, if any."""
    run, step = trained(wanted, options)
    data = {"role": evaluation.data, "split": evaluation.split}
    leaks = chain_leaks(run.chain, {"data": data}, wanted.sources)
    if leaks:
        raise RunError("\n".join(f"{wanted.name}: {line}" for line in leaks))
    device = arguments.device(options.device)

    import torch

    from replication.submission.write import predictions, trained_model, write

    # As the evaluation step has it: sums then round alike.
    torch.set_num_threads(at_most_cores(wanted.tier.threads))
    label = f"data {evaluation.data} {evaluation.split}"
    with Meter(console, label, len(listing.ids)) as meter:
        pictures = wanted.sources.segmentation(
            evaluation.data,
            evaluation.split,
            lambda done, total: meter.to(done),
            labelled=False,
            announce=lambda size: _say(console, f"{label}: {size}"),
        )
    assert wanted.cell.network is not None
    weights = wanted.store.path(step) / "weights.safetensors"
    model = trained_model(weights, wanted.cell.network, pictures, evaluation.output_stride)
    model.to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scales = ", ".join(f"{scale:g}" for scale in evaluation.scales)
    _say(
        console,
        f"{wanted.name} seed {wanted.seed}: {step} on {len(pictures):,} images of "
        f"{evaluation.data} {evaluation.split}, output stride {evaluation.output_stride}, "
        f"scales {scales}{', flipped too' if evaluation.flip else ''}, {device}",
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with Meter(console, "predicting", len(pictures)) as meter:
            write(
                beside,
                server,
                predictions(model, pictures, evaluation, lambda done, total: meter.to(done)),
            )
        problems = _checked(beside, server, listing, console)
        if not problems:
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return problems


def _checked(
    archive: Path, server: Server, listing: layouts.Listing, console: Console
) -> list[str]:
    with Meter(console, "checking", len(listing.ids)) as meter:
        return faults(archive, server, listing, meter)


def _tell(
    path: Path,
    problems: Sequence[str],
    listing: layouts.Listing,
    reason: str,
    console: Console,
) -> int:
    for problem in problems:
        _say(console, f"fault: {problem}")
    if problems:
        count = f"{len(problems)} fault{'s' if len(problems) > 1 else ''}"
        _say(console, f"{path}: {count}; as it is the server would refuse it or mark it down")
        return arguments.EXIT_FAILED
    size = decimal(path.stat().st_size)
    _say(
        console,
        f"{path}: {len(listing.ids):,} predictions, {size}; read back and checked: "
        f"every id of {listing.split} once, places, sizes, values",
    )
    if reason:
        _say(console, f"of no use to the server: {reason}")
    return arguments.EXIT_OK


def _no_use(wanted: Asked, evaluation: Evaluation, server: Server, listing: layouts.Listing) -> str:
    """Why a faultless archive would not be scored all the same; empty where it would be."""
    source = wanted.sources.by_role[evaluation.data]
    if source.recipe is not None:
        return f"the pictures are generated ({source.at}); it shows only that everything runs"
    if len(listing.ids) != server.images:
        return f"the list {listing.split} has {len(listing.ids):,} ids, not {server.images:,}"
    return ""


def _place(wanted: Asked, server: Server, reason: str) -> Path:
    useless = "-not-for-the-server" if reason else ""
    name = f"{stem(wanted.cell.table)}-{wanted.cell.id}-seed{wanted.seed}{useless}"
    return wanted.store.folder / "submissions" / f"{name}{server.archives[0]}"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
