"""Run one job: a pretraining, a training stage, or a sweep of evaluations over one model."""

import gc
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replication.allocation import keep_memory
from replication.checkpoints import read_tensors, write_tensors
from replication.data.sources import Sources
from replication.environment import describe
from replication.errors import Diverged, OutOfMemory, RunError
from replication.evaluation import evaluate
from replication.forecast.devices import main_memory
from replication.forecast.shortage import lacking
from replication.metrics import iou, mean_iou
from replication.network.deeplab import DeepLabV3, build, build_classifier
from replication.network.weights import Account, load, load_backbone, replicate_block4
from replication.plan import RANDOM
from replication.protocol import Evaluation, Network, Pretraining, Stage
from replication.rules.geometry import laid, to_json
from replication.runs import Step, Store, write_json
from replication.training import Report, pretrain, train


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a job needs besides its steps; nothing here changes a result on one device."""

    store: Store
    sources: Sources
    device: str
    threads: int
    checkpoint_seconds: float
    # Files with pretrained backbones, by backbone.
    weights: Mapping[str, Path]
    # Told (done, total, facts) as a job goes on.
    progress: Callable[[int, int, Mapping[str, float]], None]
    # Asked between iterations; a training then writes a checkpoint and stops.
    should_stop: Callable[[], bool]


# What torch and the libraries below it say, in errors of no class of their own, where an allocation
# failed.
NO_MEMORY = (
    "you tried to allocate", "can't allocate memory", "CUDA out of memory",
    "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
)  # fmt: skip


class Busy(Exception):
    """Another process is at this job."""


def run_job(steps: Sequence[Step], context: Context) -> list[str]:
    """Run the job's steps that are not done; returns their ids.

    Raises Busy if another process holds one of them, and OutOfMemory. A training that diverged is
    a result, and recorded as failed; memory is the machine's matter: what was begun stays to be
    gone on with, from its checkpoint, where there is more.
    """
    torch.set_num_threads(context.threads)
    if context.device == "cpu":
        keep_memory()
    with ExitStack() as stack:
        for step in steps:
            if not stack.enter_context(context.store.lock(step)):
                raise Busy
        # Another process may have finished some of them since this job was handed out.
        todo = [step for step in steps if context.store.status(step) in ("missing", "partial")]
        if not todo:
            return []
        folders = {step.id: context.store.begin(step) for step in todo}
        for folder in folders.values():
            write_json(folder / "environment.json", describe(context.device))
        started = time.monotonic()
        shortage = ""
        try:
            if todo[0].kind == "evaluate":
                outcomes = _evaluate(todo, folders, context)
            elif todo[0].kind == "train":
                outcomes = [_train(todo[0], folders[todo[0].id], context)]
            else:
                outcomes = [_pretrain(todo[0], folders[todo[0].id], context)]
        except Diverged as failure:
            for step in todo:
                context.store.finish(step, {"status": "failed", "error": str(failure)})
            raise
        except (MemoryError, RuntimeError) as failure:
            if not lacks_memory(failure):
                raise
            shortage = _shortage(todo, context)
        if shortage:
            # Out here nothing refers to the failed job's tensors any more: the next one needs them.
            gc.collect()
            if context.device != "cpu":
                torch.cuda.empty_cache()
            raise OutOfMemory(shortage)
        seconds = round(time.monotonic() - started, 3)
        for step, outcome in zip(todo, outcomes, strict=True):
            context.store.finish(step, {"status": "done", "seconds": seconds, **outcome})
        return [step.id for step in todo]


def lacks_memory(problem: Exception) -> bool:
    """Whether an error means that memory, the device's or the machine's, did not suffice."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(problem) for text in NO_MEMORY)


def _shortage(steps: Sequence[Step], context: Context) -> str:
    """What a job that ran out of memory needs, and what would fit."""
    if context.device == "cpu":
        kind, available = "cpu", main_memory()
    else:
        kind, available = "cuda", float(torch.cuda.get_device_properties(0).total_memory)
    return f"out of memory {lacking(steps, context.sources, kind, available)}"


def _reporter(folder: Path, context: Context) -> Callable[[Report], None]:
    path = folder / "log.jsonl"
    before = path.read_text().splitlines() if path.exists() else []

    def report(now: Report) -> None:
        facts = {"loss": now.loss, "images/s": now.images_per_second}
        if before:
            # A run that broke off may have logged beyond its last checkpoint.
            kept = [line for line in before if json.loads(line)["iteration"] < now.iteration]
            path.write_text("".join(line + "\n" for line in kept))
            before.clear()
        with path.open("a") as log:
            log.write(json.dumps(asdict(now)) + "\n")
        context.progress(now.iteration, now.iterations, facts)

    return report


def _weights(store: Store, step_id: str) -> dict[str, torch.Tensor]:
    return read_tensors(store.path(step_id) / "weights.safetensors")[0]


def _pretrain(step: Step, folder: Path, context: Context) -> dict[str, Any]:
    network = Network.model_validate(step.config["network"])
    protocol = Pretraining.model_validate(step.config["pretraining"])
    data = context.sources.classification(step.config["data"]["split"])
    seed = step.config["seed"]
    generator = torch.Generator().manual_seed(seed)
    model = build_classifier(
        network,
        len(data.classes),
        protocol.output_stride,
        generator,
        residual_gamma=protocol.residual_gamma,
    )
    place(model, context.device)
    pretrain(
        model,
        protocol,
        data,
        seed=seed,
        folder=folder,
        report=_reporter(folder, context),
        should_stop=context.should_stop,
        checkpoint_seconds=context.checkpoint_seconds,
    )
    return _trained(model, folder, data.classes)


def _train(step: Step, folder: Path, context: Context) -> dict[str, Any]:
    network = Network.model_validate(step.config["network"])
    stage = Stage.model_validate(step.config["stage"])
    data = context.sources.segmentation(stage.data, stage.split)
    seed = step.config["seed"]
    model = build(
        network, len(data.classes), stage.output_stride, torch.Generator().manual_seed(seed)
    )
    account, fresh = _start_weights(model, step, context)
    write_json(folder / "weights-account.json", account)
    write_json(folder / "geometry.json", to_json(laid(model)))
    (folder / "images.txt").write_text("\n".join(data.ids) + "\n")
    place(model, context.device)
    train(
        model,
        stage,
        data,
        seed=seed,
        folder=folder,
        report=_reporter(folder, context),
        should_stop=context.should_stop,
        checkpoint_seconds=context.checkpoint_seconds,
        fresh=fresh,
    )
    return _trained(model, folder, data.classes)


def _start_weights(
    model: DeepLabV3, step: Step, context: Context
) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """Load the stage's starting weights; returns the account and the BN layers left fresh."""
    accounts = {}
    if step.parent is None:
        account = _load_initial(model, step, context)
    elif step.parent.startswith("pretrain-"):
        state = _weights(context.store, step.parent)
        own = {
            n.removeprefix("backbone."): t for n, t in state.items() if n.startswith("backbone.")
        }
        account = load(model.backbone, own)
    else:
        accounts["previous stage"] = vars(load(model, _weights(context.store, step.parent)))
        return accounts, []
    accounts["backbone"] = vars(account)
    copied = replicate_block4(model.backbone, gamma=model.network.extra_block_gamma)
    accounts["block5-7 from block4"] = vars(copied)
    given = set(account.loaded)
    # A copy of a block4 that was never trained is as fresh as block4 itself.
    given |= {n for n in copied.copied if re.sub(r"^block\d", "block4", n) in account.loaded}
    known = {f"backbone.{name}" for name in given}
    fresh = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.BatchNorm2d) and f"{name}.running_mean" not in known
    ]
    return accounts, fresh


def _load_initial(model: DeepLabV3, step: Step, context: Context) -> Account:
    """Load the published weights that the step's tier starts from, if any."""
    backbone = model.network.backbone
    if step.config["initial"]["sha256"] == RANDOM:
        return load(model.backbone, {})
    if backbone not in context.weights:
        raise RunError(
            f"this tier starts from ImageNet weights; give --weights {backbone}=FILE "
            "(a torchvision state dict)"
        )
    return load_backbone(model.backbone, context.weights[backbone])


def _evaluate(
    steps: Sequence[Step], folders: Mapping[str, Path], context: Context
) -> list[dict[str, Any]]:
    network = Network.model_validate(steps[0].config["network"])
    strategies = [Evaluation.model_validate(step.config["evaluation"]) for step in steps]
    data = context.sources.segmentation(strategies[0].data, strategies[0].split)
    model = DeepLabV3(network, len(data.classes), strategies[0].output_stride)
    assert steps[0].parent is not None
    account = load(model, _weights(context.store, steps[0].parent))
    if account.missing or account.mismatched:
        raise RunError(f"{steps[0].parent}: its weights do not fit this set's classes ({account})")
    place(model, context.device)

    def progress(done: int, total: int) -> None:
        context.progress(done, total, {})
        if context.should_stop():
            raise KeyboardInterrupt

    counts = evaluate(model, data, strategies, progress=progress)
    outcomes = []
    for step, images in zip(steps, counts, strict=True):
        model.set_output_stride(step.config["evaluation"]["output_stride"])
        write_json(folders[step.id] / "geometry.json", to_json(laid(model)))
        counts_file = folders[step.id] / "counts.safetensors"
        write_tensors(counts_file, {"confusion": torch.from_numpy(images)}, {})
        (folders[step.id] / "images.txt").write_text("\n".join(data.ids) + "\n")
        confusion = images.sum(0, dtype=np.int64)
        if not confusion.any():
            raise RunError(f"{data.split}: no pixel of this split has a class; nothing to score")
        per_class = zip(data.classes, iou(confusion), strict=True)
        outcomes.append(
            {
                "miou": mean_iou(confusion),
                "per_class": {n: None if np.isnan(v) else 100.0 * float(v) for n, v in per_class},
                "images": len(data),
                "pixels": int(confusion.sum()),
            }
        )
    return outcomes


def place(model: torch.nn.Module, device: str) -> None:
    """Move a model to the device, in the memory layout that its convolutions are quickest in."""
    model.to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _trained(model: torch.nn.Module, folder: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Save a training's weights; returns its outcome."""
    write_tensors(folder / "weights.safetensors", model.state_dict(), {"classes": classes})
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    return {"loss": last["loss"], "iterations": last["iteration"]}
