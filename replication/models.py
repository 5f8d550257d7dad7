"""The networks that a `--model` names, loaded and ready to be evaluated.

    torchvision:NAME   a segmentation network of torchvision, with a state dict in a file
    record:FOLDER      a training record of ours (results/TIER/steps/train-…)
    MODULE:CALLABLE    whatever the callable returns: a module or a function

None of them downloads anything. What a file's tensors did is told in an account, and a file that
does not fit is refused: weights that fit in part give numbers that mean nothing.
"""

import importlib
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from replication.checkpoints import read_tensors
from replication.errors import ReplicationError, RunError
from replication.network.deeplab import DeepLabV3
from replication.network.foreign import ForeignModel, fill, matters, refuse_misfits, told
from replication.network.weights import Account, load, read_file
from replication.protocol import Network, Stage
from replication.runs import Step, read_json
from replication.spec.checks import nearest

TORCHVISION, RECORD = "torchvision:", "record:"
# The last layer of torchvision's heads: its length is the number of classes.
LAST_LAYERS = ("classifier.4.bias", "classifier.low_classifier.bias")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What others measured with the same network, in percent, and under which conditions."""

    miou: float
    pixel_accuracy: float
    source: str
    conditions: str
    # Whether the weights at hand are the very file that was measured there.
    same_weights: bool


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network ready to be evaluated, and what is to be told about it."""

    name: str
    model: ForeignModel | DeepLabV3
    weights: str
    sha256: str | None = None
    account: Account | None = None
    # Names of the logits' channels, where they are known.
    classes: tuple[str, ...] | None = None
    # Whether it can be evaluated at any output stride.
    any_stride: bool = False
    published: Published | None = None
    # The trainings behind a record of ours, first to last, as far as their records are there.
    chain: tuple[Step, ...] = ()
    # The record whose absence leaves the chain incomplete.
    lost: str | None = None


def load_model(
    name: str,
    classes: Sequence[str],
    *,
    weights: Path | None = None,
    random: bool = False,
    align_corners: bool | None = None,
) -> Loaded:
    """The network that `name` names, on the CPU, for a set of these classes.

    `align_corners` None is each network's own way: a record's as trained, else False as in
    torchvision. Raises ReplicationError, in one line, for whatever does not fit.
    """
    if name.startswith(RECORD):
        if weights or random:
            raise ReplicationError(f"--model {name}: a record has weights of its own")
        loaded = from_record(Path(name.removeprefix(RECORD)).expanduser(), align_corners)
    elif name.startswith(TORCHVISION):
        loaded = from_torchvision(
            name.removeprefix(TORCHVISION), len(classes), weights, random, bool(align_corners)
        )
    elif random:
        raise ReplicationError(f"--random: only for {TORCHVISION}NAME")
    else:
        loaded = from_callable(name, len(classes), weights, bool(align_corners))
    _check_classes(loaded, classes)
    return loaded


def _check_classes(loaded: Loaded, ours: Sequence[str]) -> None:
    theirs = loaded.classes
    if theirs is None:
        return
    if len(theirs) != len(ours):
        raise ReplicationError(
            f"{loaded.name} knows {len(theirs)} classes, and the set has {len(ours)} "
            f"({', '.join(ours[:3])}, …)"
        )
    for index, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        if their != our:
            raise ReplicationError(
                f"class {index} of {loaded.name} is {their!r}, and the set's is {our!r}; "
                "both must have the same classes in the same order"
            )


def from_torchvision(
    name: str, num_classes: int, weights: Path | None, random: bool, align_corners: bool
) -> Loaded:
    """A segmentation network of torchvision, with a file's tensors or, if asked for, random ones.

    Its auxiliary classifier is left out: inference does not use it.
    """
    from torchvision import models

    known = models.list_models(module=models.segmentation)
    full = f"{TORCHVISION}{name}"
    if name not in known:
        raise ReplicationError(
            f"--model {full}: torchvision has no such segmentation network; {nearest(name, known)}"
        )
    if weights and random:
        raise ReplicationError("--random: not together with --weights")
    if not (weights or random):
        raise ReplicationError(
            f"--model {full}: give --weights FILE, its state dict "
            "(or --random, to evaluate untrained weights)"
        )

    def build(one: str) -> torch.nn.Module:
        # weights_backbone=None, or torchvision downloads a backbone.
        return models.get_model(
            one, weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(name)
    official = models.get_model_weights(name).DEFAULT
    digest, account, classes = None, None, None
    if weights:
        state = read_file(weights)
        digest = file_hash(weights)
        trained_for = [len(state[layer]) for layer in LAST_LAYERS if layer in state]
        if trained_for and trained_for[0] != num_classes:
            raise ReplicationError(
                f"{weights}: weights for {trained_for[0]} classes, and the set has {num_classes}"
            )
        others = [one for one in known if one != name]
        account = fill(network, state, weights, full, lambda: _hint(state, others, build))
        categories = tuple(category.strip("_") for category in official.meta["categories"])
        classes = categories if num_classes == len(categories) else None
    return Loaded(
        name=full,
        model=ForeignModel(
            network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            name=full,
            num_classes=num_classes,
            align_corners=align_corners,
            contiguous=False,
        ),
        weights=str(weights) if weights else "random: these numbers say nothing of the network",
        sha256=digest,
        account=account,
        classes=classes,
        published=_published(official, digest),
    )


def _published(official: Any, digest: str | None) -> Published | None:
    """torchvision's own figures, from what it keeps with its weights."""
    from torchvision import __version__

    measured = official.meta.get("_metrics")
    if not measured:
        return None
    [(where, figures)] = measured.items()
    [side] = official.transforms().resize_size
    # The file's name ends in the first digits of its checksum: …_coco-586e9e4e.pth.
    prefix = Path(official.url).stem.rpartition("-")[2]
    return Published(
        miou=figures["miou"],
        pixel_accuracy=figures["pixel_acc"],
        source=f"torchvision {__version__}, {official}, {official.meta['recipe']}",
        conditions=f"{where}, images resized to {side}",
        same_weights=digest is not None and digest.startswith(prefix),
    )


def _hint(
    state: Mapping[str, Tensor], names: Sequence[str], build: Callable[[str], torch.nn.Module]
) -> str:
    """The torchvision network that the tensors do fit, if there is one."""
    given = {key for key in state if matters(key)}
    for name in names:
        with torch.device("meta"):
            own = build(name).state_dict()
        if given == {key for key in own if matters(key)}:
            return f"; these are the weights of {TORCHVISION}{name}"
    return ""


def from_callable(name: str, num_classes: int, weights: Path | None, align_corners: bool) -> Loaded:
    """What `module:callable` returns when called without arguments.

    The module is looked for on Python's path and in the current folder.
    """
    module_name, _, attribute = name.partition(":")
    if not (module_name and attribute):
        raise ReplicationError(
            f"--model {name}: must be torchvision:NAME, record:FOLDER or module:callable"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ReplicationError(
            f"--model {name}: {module_name} cannot be imported ({told(error)}); "
            "run in its folder, or name that in PYTHONPATH"
        ) from None
    try:
        make = operator.attrgetter(attribute)(module)
    except AttributeError:
        known = [one for one, value in vars(module).items() if callable(value) and one[0] != "_"]
        raise ReplicationError(
            f"--model {name}: {module_name} has no {attribute}; {nearest(attribute, known)}"
        ) from None
    try:
        network = make()
    except Exception as error:
        raise ReplicationError(
            f"--model {name}: cannot be called without arguments ({told(error)}); "
            "it must be a callable that returns an nn.Module or a function"
        ) from None
    if not callable(network):
        raise ReplicationError(
            f"--model {name}: returned a {type(network).__name__}; "
            "it must return an nn.Module or a function"
        )
    account = None
    if weights:
        if not isinstance(network, torch.nn.Module):
            raise ReplicationError(
                f"--weights {weights}: {name} returned no nn.Module that could load them"
            )
        account = fill(network, read_file(weights), weights, name)
    return Loaded(
        name=name,
        model=ForeignModel(
            network, name=name, num_classes=num_classes, align_corners=align_corners
        ),
        weights=str(weights) if weights else "as the callable gave them",
        sha256=file_hash(weights) if weights else None,
        account=account,
    )


def from_record(folder: Path, align_corners: bool | None) -> Loaded:
    """A network of ours, from its training's record."""
    name = f"{RECORD}{folder}"
    if not (folder / "config.json").is_file():
        raise RunError(
            f"--model {name}: no training record (no config.json there); "
            "give a folder results/TIER/steps/train-…"
        )
    recorded = read_json(folder / "config.json")
    if recorded.get("kind") != "train":
        raise RunError(
            f"--model {name}: a record of kind {recorded.get('kind')!r}; give a folder train-…"
        )
    file = folder / "weights.safetensors"
    if not file.is_file():
        raise RunError(f"--model {name}: no weights.safetensors: this training did not end")
    try:
        network = Network.model_validate(recorded["config"]["network"])
        stage = Stage.model_validate(recorded["config"]["stage"])
    except (KeyError, ValidationError) as error:
        raise RunError(
            f"{folder / 'config.json'}: no configuration of this version ({told(error)})"
        ) from None
    if align_corners is not None:
        network = network.model_copy(update={"align_corners": align_corners})
    state, facts = read_tensors(file)
    classes = tuple(facts.get("classes", ()))
    model = DeepLabV3(network, len(classes), stage.output_stride)
    account = load(model, state)
    refuse_misfits(account, file, name)
    chain, lost = _chain(folder)
    return Loaded(
        name=name,
        model=model.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        weights=str(file),
        sha256=file_hash(file),
        account=account,
        classes=classes,
        any_stride=True,
        chain=chain,
        lost=lost,
    )


def _chain(folder: Path) -> tuple[tuple[Step, ...], str | None]:
    """The trainings that led to a record, and the one whose record is not beside it."""
    steps: list[Step] = []
    here = folder
    while True:
        recorded = read_json(here / "config.json")
        steps.insert(
            0,
            Step(kind=recorded["kind"], config=recorded["config"], parent=recorded["parent"]),
        )
        if recorded["parent"] is None:
            return tuple(steps), None
        here = folder.resolve().parent / recorded["parent"]
        if not (here / "config.json").is_file():
            return tuple(steps), recorded["parent"]


def file_hash(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
