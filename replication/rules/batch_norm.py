"""BN really frozen, or really trained: a training's weights against those it started from.

"Freezing batch normalization parameters" (section 4.1) may do nothing, and training them may do
nothing either; a loss curve shows neither. The weights do, layer by layer.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from replication.finished import Array
from replication.rules.deviation import Deviation, some

if TYPE_CHECKING:
    from replication.protocol import Network, Stage

STATISTICS = ("running_mean", "running_var")
GAINS = ("weight", "bias")
COUNTER = "num_batches_tracked"
# What a layer has before anything is loaded into it.
FRESH = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0, "bias": 0.0, COUNTER: 0}
BLOCK4 = "backbone.block4."


@dataclass(frozen=True, kw_only=True)
class Start:
    """The BN tensors that a training started from, and the layers that nothing was loaded into."""

    tensors: Mapping[str, Array]
    fresh: frozenset[str]


def layers(tensors: Iterable[str]) -> list[str]:
    """The BN layers among tensors' names: those that have running statistics."""
    end = ".running_mean"
    return [name.removesuffix(end) for name in tensors if name.endswith(end)]


def start(
    end: Mapping[str, Array], loaded: Mapping[str, Array], *, extra_block_gamma: float = 1.0
) -> Start:
    """What the BN layers of `end` started from when `loaded` was what there was to load.

    block5 to block7 start as copies of block4, with the last gain of each unit times
    `extra_block_gamma`, unless `loaded` has them itself (section 3.2: "duplicate several copies of
    the last ResNet block").
    """
    tensors, fresh = {}, []
    names = layers(end)
    # Loaded before or not, block4's values are what the later blocks copy.
    for layer in sorted(names, key=lambda name: not name.startswith(BLOCK4)):
        copied = _copied_from(layer) if f"{layer}.running_mean" not in loaded else None
        known = copied is not None
        for kind, initial in FRESH.items():
            name = f"{layer}.{kind}"
            if name not in end:
                continue
            shape = end[name].shape
            if name in loaded and loaded[name].shape == shape:
                tensors[name] = loaded[name]
                known = known or kind == "running_mean"
            elif copied is not None and f"{copied}.{kind}" in tensors:
                scaled = kind == "weight" and layer.endswith("bn3")
                value = tensors[f"{copied}.{kind}"]
                tensors[name] = value * extra_block_gamma if scaled else value
            else:
                tensors[name] = np.full(shape, initial, dtype=end[name].dtype)
        if not known:
            fresh.append(layer)
    return Start(tensors=tensors, fresh=frozenset(fresh))


def _copied_from(layer: str) -> str | None:
    """The layer of block4 that a layer of block5 to block7 starts as a copy of."""
    for block in (5, 6, 7):
        prefix = f"backbone.block{block}."
        if layer.startswith(prefix):
            return BLOCK4 + layer.removeprefix(prefix)
    return None


def frozen_layers(
    names: Iterable[str], stage: Mapping[str, Any], fresh: Collection[str]
) -> set[str]:
    """The layers that a stage freezes: all but those without statistics from before it."""
    return {name for name in names if stage["batch_norm"] == "frozen" and name not in fresh}


def batch_norm(
    begin: Mapping[str, Array],
    end: Mapping[str, Array],
    *,
    frozen: Collection[str],
    gains_too: bool,
    iterations: int,
) -> list[Deviation]:
    """Every BN layer before and after a training of so many iterations.

    A frozen layer keeps its statistics to the bit and has counted no batch; with `gains_too` it
    keeps gamma and beta as well. Any other layer's statistics have moved, it has counted every
    iteration's batch, and gamma or beta has moved.
    """
    names = layers(end)
    still, moving = [n for n in names if n in frozen], [n for n in names if n not in frozen]
    found = [
        *_kept(begin, end, still, STATISTICS, "statistics"),
        *_moved(begin, end, moving, STATISTICS, "statistics"),
    ]
    if gains_too:
        found += _kept(begin, end, still, GAINS, "gamma or beta")
        found += _moved(begin, end, moving, GAINS, "gamma and beta")
    else:
        found += _moved(begin, end, names, GAINS, "gamma and beta")
    for which, word, batches in ((still, "frozen", 0), (moving, "trained", iterations)):
        counted = {
            name: int(end[f"{name}.{COUNTER}"]) - int(begin[f"{name}.{COUNTER}"])
            for name in which
            if f"{name}.{COUNTER}" in end
        }
        wrong = [name for name, count in counted.items() if count != batches]
        if wrong:
            found.append(
                Deviation(
                    value=f"{len(wrong)} of {len(which)} {word} layers counted other batches "
                    f"({counted[wrong[0]]} by {some(wrong)})",
                    expected=f"{batches}",
                )
            )
    return found


def _kept(
    begin: Mapping[str, Array],
    end: Mapping[str, Array],
    names: Collection[str],
    kinds: Collection[str],
    what: str,
) -> list[Deviation]:
    wrong = [name for name in names if _changed(begin, end, name, kinds)]
    if not wrong:
        return []
    largest = max(
        float(np.abs(end[f"{name}.{kind}"] - begin[f"{name}.{kind}"]).max())
        for name in wrong
        for kind in kinds
    )
    return [
        Deviation(
            value=f"{what} of {len(wrong)} of {len(names)} frozen layers moved, by up to "
            f"{largest:.3g} ({some(wrong)})",
            expected="as before the training",
        )
    ]


def _moved(
    begin: Mapping[str, Array],
    end: Mapping[str, Array],
    names: Collection[str],
    kinds: Collection[str],
    what: str,
) -> list[Deviation]:
    wrong = [name for name in names if not _changed(begin, end, name, kinds)]
    if not wrong:
        return []
    return [
        Deviation(
            value=f"{what} of {len(wrong)} of {len(names)} trained layers did not move "
            f"({some(wrong)})",
            expected="moved by the training",
        )
    ]


def _changed(
    begin: Mapping[str, Array], end: Mapping[str, Array], name: str, kinds: Collection[str]
) -> bool:
    return any(not np.array_equal(begin[f"{name}.{kind}"], end[f"{name}.{kind}"]) for kind in kinds)


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """How one BN layer stands before the first iteration."""

    # It normalises with its running statistics and does not change them.
    frozen: bool
    # Its gamma and beta are trained.
    gains: bool
    decay: float
    epsilon: float


def set_up(network: "Network", stage: "Stage", fresh: Callable[[str], bool]) -> dict[str, SetUp]:
    """The BN layers of a network as `training.set_batch_norm` leaves them. Imports torch.

    `fresh` tells the layers that have no statistics from before the stage.
    """
    import torch
    from torch import nn

    from replication.network.deeplab import DeepLabV3
    from replication.training import set_batch_norm

    with torch.device("meta"):
        model = DeepLabV3(network, 2, stage.output_stride)
    set_batch_norm(
        model,
        decay=stage.bn_decay,
        frozen=stage.batch_norm == "frozen",
        gains_too=stage.frozen_bn == "all",
        fresh=[name for name, _ in model.named_modules() if fresh(name)],
    )
    return {
        name: SetUp(
            frozen=not layer.training,
            gains=layer.weight.requires_grad and layer.bias.requires_grad,
            decay=1.0 - (layer.momentum or 0.0),
            epsilon=layer.eps,
        )
        for name, layer in model.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
    }


def prepared(
    found: Mapping[str, SetUp], network: "Network", stage: "Stage", fresh: Collection[str]
) -> list[Deviation]:
    """Every layer frozen, or trained with the decay, as the stage has it."""
    frozen = frozen_layers(found, stage.model_dump(), fresh)
    wrong: dict[tuple[str, str], list[str]] = {}
    for name, is_ in found.items():
        gains = not (name in frozen and stage.frozen_bn == "all")
        for what, value, must in (
            ("frozen", is_.frozen, name in frozen),
            ("gamma and beta trained", is_.gains, gains),
            ("decay", round(is_.decay, 12), stage.bn_decay),
            ("epsilon", is_.epsilon, network.bn_epsilon),
        ):
            if value != must:
                wrong.setdefault((f"{what}: {value}", f"{must}"), []).append(name)
    return [
        Deviation(
            value=f"{value} in {len(names)} of {len(found)} layers ({some(names)})", expected=must
        )
        for (value, must), names in wrong.items()
    ]
