"""Apply the rules to a finished step's record, or to a plan before anything is trained.

What a rule needs and the record does not hold is taken from the data and weights at hand, where
they are those that the step was made from; where they are not, the rule is left out and says what
it lacks. Torch is imported for two rules only: the geometry as built, and published weights.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from replication.data import embedded
from replication.data.sources import EMBEDDED, MISSING, Source, Sources
from replication.errors import DataError, RunError
from replication.finished import Array, Finished
from replication.guard import chain_leaks
from replication.plan import RANDOM, Plan
from replication.protocol import Network, Stage
from replication.rules import batch_norm, evaluation, geometry, protocol, splits
from replication.rules.deviation import Deviation
from replication.rules.examination import Examination, Finding
from replication.runs import Step, Store

# What reading a record raises where its files are cut short, of another form, or do not belong
# together.
DAMAGE = (RunError, KeyError, IndexError, TypeError, ValueError, AttributeError)
Rule = tuple[str, Callable[[], list[Deviation]]]


class LackingError(Exception):
    """A rule cannot be applied for want of what the text names; empty where it is not meant to."""


class Linter:
    """The rules with what they may use: a store's records, the data and the weights at hand."""

    def __init__(
        self,
        store: Store,
        *,
        sources: Sources | None = None,
        weights: Mapping[str, Path] | None = None,
        comparable: bool = False,
        masks: bool = True,
    ) -> None:
        """`comparable`: whether the tier's numbers are held against the published ones, so that
        a split smaller than the official one is a fault. `masks`: whether every mask of an
        evaluated set is read, to count its pixels.
        """
        self.store = store
        self.sources = sources
        self.weights = weights or {}
        self.comparable = comparable
        self.masks = masks
        self._layouts: dict[str, dict[str, geometry.Convolution]] = {}
        self._truths: dict[str, evaluation.Truth] = {}
        self._digests: dict[str, tuple[str, str]] = {}
        self._held: dict[tuple[str, str], str] = {}
        self._ids: dict[tuple[str, str], frozenset[str]] = {}

    def examine(self, step_id: str) -> Examination:
        """Every rule that a finished step's record can be held to."""
        record = Finished(folder=self.store.path(step_id))
        return _apply(step_id, self._rules(record))

    def before(self, plan: Plan) -> list[Examination]:
        """What can be known before anything of a plan is trained, step by step."""
        chains = {run.evaluation.id: run.chain for run in plan.runs if run.evaluation is not None}
        return [
            _apply(step.id, self._rules_before(step, chains.get(step.id, ())))
            for step in plan.steps.values()
        ]

    def _rules(self, record: Finished) -> Iterator[Rule]:
        yield "configuration", lambda: _configuration(record)
        try:
            kind, config = record.kind, record.config
        except (RunError, KeyError):
            return
        yield "geometry", lambda: self._geometry(kind, config, record)
        if kind == "evaluate":
            counts = evaluation
            yield (
                "evaluation size",
                lambda: counts.size(record.images, record.confusion, record.outcome),
            )
            yield "pixels", lambda: counts.pixels(record.confusion, record.outcome)
            yield "masks", lambda: self._masks(record)
            yield "score", lambda: counts.score(record.confusion, record.outcome)
            yield "one truth", lambda: self._one_truth(record)
            yield "split size", lambda: self._split_size(config["data"], record)
            yield "unseen", lambda: self._unseen(record)
            return
        stage = config["stage" if kind == "train" else "pretraining"]
        yield "batch norm", lambda: self._batch_norm(record, stage)
        yield "learning rate", lambda: protocol.learning_rates(record.log, stage)
        yield (
            "iterations",
            lambda: protocol.iterations(record.log, record.outcome, stage["iterations"]),
        )
        if kind == "train":
            yield "split size", lambda: self._split_size(config["data"], record)

    def _rules_before(self, step: Step, chain: Sequence[Step]) -> Iterator[Rule]:
        yield "geometry", lambda: self._geometry(step.kind, step.config, None)
        if step.kind == "train":
            yield "batch norm", lambda: _prepared(step)
        if step.kind != "pretrain":
            yield "split size", lambda: self._split_size(step.config["data"], None)
        if step.kind == "evaluate":
            yield "unseen", lambda: self._leaks(chain, step)

    def _geometry(
        self, kind: str, config: Mapping[str, Any], record: Finished | None
    ) -> list[Deviation]:
        """As the record says that it was; else as this code builds the configuration."""
        network = config["network"]
        name = {"train": "stage", "pretrain": "pretraining", "evaluate": "evaluation"}[kind]
        stride = config[name]["output_stride"]
        grids: list[Any] = [*config[name]["multi_grids"]] if kind == "pretrain" else [None]
        recorded = record.geometry if record is not None else None
        if recorded is not None:
            return geometry.geometry(
                geometry.from_json(recorded), geometry.expected(network, stride)
            )
        first = stride
        if kind == "evaluate" and record is not None and record.parent is not None:
            # A trained network is set to another stride; so it is here.
            stage = record.parent.config.get("stage") if record.parent.exists else None
            first = stage["output_stride"] if stage else stride
        found = []
        for grid in grids:
            key = json.dumps([network, stride, first, grid], sort_keys=True)
            if key not in self._layouts:
                self._layouts[key] = geometry.built(
                    network, stride, first=first if kind == "evaluate" else None, multi_grid=grid
                )
            found += geometry.geometry(self._layouts[key], geometry.expected(network, stride, grid))
        return found

    def _batch_norm(self, record: Finished, stage: Mapping[str, Any]) -> list[Deviation]:
        begin = batch_norm.start(
            record.weights,
            self._loaded(record),
            extra_block_gamma=record.config["network"]["extra_block_gamma"],
        )
        # A pretraining trains every layer.
        protocol = {"batch_norm": "trained", "frozen_bn": "statistics", **stage}
        names = batch_norm.layers(record.weights)
        return batch_norm.batch_norm(
            begin.tensors,
            record.weights,
            frozen=batch_norm.frozen_layers(names, protocol, begin.fresh),
            gains_too=protocol["frozen_bn"] == "all",
            iterations=stage["iterations"],
        )

    def _loaded(self, record: Finished) -> dict[str, Array]:
        """What there was to load when a training began, by the network's names."""
        parent, initial = record.parent, record.config.get("initial")
        if parent is not None:
            if not parent.exists:
                raise LackingError(f"the record {parent.id} beside it")
            whole = parent.kind == "train"
            return {n: t for n, t in parent.weights.items() if whole or n.startswith("backbone.")}
        if initial is None or initial["sha256"] == RANDOM:
            return {}
        backbone, digest = initial["backbone"], initial["sha256"]
        file = self.weights.get(backbone)
        if file is None or sha256(file.read_bytes()).hexdigest() != digest:
            raise LackingError(f"--weights {backbone}=FILE with the sha256 {digest[:12]}…")
        from replication.network.weights import from_torchvision, read_file

        state = from_torchvision(read_file(file))
        return {f"backbone.{name}": tensor.numpy() for name, tensor in state.items()}

    def _split_size(self, data: Mapping[str, str], record: Finished | None) -> list[Deviation]:
        role, split = data["role"], data["split"]
        if splits.official_size(role, split) is None or _generated(data):
            raise LackingError
        if record is not None and record.lists_images:
            images = len(record.images)
        else:
            images = len(self._ids_of(data))
        return splits.split_size(role, split, images, comparable=self.comparable)

    def _unseen(self, record: Finished) -> list[Deviation]:
        """By the ids that trainings record; else by the lists that they were trained on."""
        role, split = record.config["data"]["role"], record.config["data"]["split"]
        found: list[Deviation] = []
        lacking = []
        ancestor = record.parent
        while ancestor is not None:
            if not ancestor.exists:
                lacking.append(f"the record {ancestor.id} beside it")
                break
            data = ancestor.config["data"]
            # Ids of different sets say nothing about each other.
            if ancestor.kind == "train" and data["role"] == role:
                try:
                    trained = (
                        frozenset(ancestor.images) if ancestor.lists_images else self._ids_of(data)
                    )
                    found += splits.unseen(
                        record.images, trained, split=split, training=ancestor.id
                    )
                except LackingError as lack:
                    lacking.append(str(lack))
            ancestor = ancestor.parent
        if lacking and not found:
            raise LackingError(lacking[0])
        return found

    def _leaks(self, chain: Sequence[Step], step: Step) -> list[Deviation]:
        ids = {}
        for one in (*chain, step):
            if one.kind != "pretrain":
                data = one.config["data"]
                sources = self._at_hand(data)
                ids[data["role"], data["split"]] = self._ids_of(data)
        leaks = chain_leaks(chain, step.config, sources, lambda *split: ids[split])
        return [Deviation(value=line, expected="none of them") for line in leaks]

    def _masks(self, record: Finished) -> list[Deviation]:
        if not self.masks:
            raise LackingError
        data = record.config["data"]
        key = data["fingerprint"]
        if key not in self._truths:
            sources = self._at_hand(data)
            pictures = sources.segmentation(data["role"], data["split"])
            self._truths[key] = evaluation.truth_of(pictures)
        return evaluation.masks(record.confusion, self._truths[key], record.images)

    def _one_truth(self, record: Finished) -> list[Deviation]:
        """Against the other evaluations of the same data in the store."""
        others = {}
        for folder in sorted(self.store.steps.glob("evaluate-*")):
            if folder.name == record.id or folder.name.endswith(".partial"):
                continue
            try:
                data, digest = self._digest(Finished(folder=folder))
            except (RunError, KeyError):
                continue  # it has findings of its own
            if data == record.config["data"]["fingerprint"]:
                others[folder.name] = digest
        if not others:
            raise LackingError
        return evaluation.one_truth(self._digest(record)[1], others)

    def _digest(self, record: Finished) -> tuple[str, str]:
        """The fingerprint of an evaluation's data, and a digest of what it took for their truth."""
        if record.id not in self._digests:
            rows = np.ascontiguousarray(record.confusion.sum(2, dtype=np.int64))
            digest = sha256("\n".join(record.images).encode() + rows.tobytes()).hexdigest()
            self._digests[record.id] = (record.config["data"]["fingerprint"], digest)
        return self._digests[record.id]

    def _ids_of(self, data: Mapping[str, str]) -> frozenset[str]:
        """The ids of a split at hand, listed once."""
        split = data["role"], data["split"]
        sources = self._at_hand(data)
        if split not in self._ids:
            self._ids[split] = sources.ids(*split)
        return self._ids[split]

    def _at_hand(self, data: Mapping[str, str]) -> Sources:
        """The sources, if what they hold for this split is what the step was made from."""
        role, split = data["role"], data["split"]
        needed = f"--data {role}=PATH with the {split} that it was made from"
        if self.sources is None:
            raise LackingError(needed)
        if (role, split) not in self._held:
            try:
                self._held[role, split] = self.sources.fingerprint(role, split)
            except DataError:
                self._held[role, split] = MISSING
        if MISSING in (data["fingerprint"], self._held[role, split]) or (
            self._held[role, split] != data["fingerprint"]
        ):
            raise LackingError(needed)
        return self.sources


def findings(store: Store, step: Step | str, **given: Any) -> list[Finding]:
    """What is wrong with one finished step's record; `given` as `Linter` takes it."""
    step_id = step if isinstance(step, str) else step.id
    return list(Linter(store, **given).examine(step_id).findings)


def _apply(step: str, rules: Iterator[Rule]) -> Examination:
    found: dict[Finding, None] = {}
    applied, lacking = [], {}
    for rule, check in rules:
        try:
            deviations = check()
        except LackingError as lack:
            if str(lack):
                lacking[rule] = str(lack)
            continue
        except DAMAGE as damage:
            # Several rules may read one file: told once.
            value = str(damage)
            if isinstance(damage, KeyError):
                value = f"no {damage} in it"
            elif not isinstance(damage, RunError):
                value = f"the rule “{rule}” cannot be applied to it ({damage})"
            found[Finding(rule="record", value=value, expected="a whole record", step=step)] = None
            continue
        applied.append(rule)
        for one in deviations:
            finding = Finding(
                rule=rule,
                value=one.value,
                expected=one.expected,
                step=step,
                warning=one.warning,
            )
            found[finding] = None
    return Examination(step=step, findings=tuple(found), applied=tuple(applied), lacking=lacking)


def _configuration(record: Finished) -> list[Deviation]:
    """A step is named by its configuration."""
    if record.digest == record.id:
        return []
    return [Deviation(value=f"config.json is {record.digest}'s", expected="the folder's own")]


def _prepared(step: Step) -> list[Deviation]:
    network = Network.model_validate(step.config["network"])
    stage = Stage.model_validate(step.config["stage"])
    fresh = _fresh(step)
    found = batch_norm.set_up(network, stage, fresh)
    return batch_norm.prepared(found, network, stage, list(filter(fresh, found)))


def _fresh(step: Step) -> Callable[[str], bool]:
    """Whether a BN layer has no statistics from before the stage."""
    if step.parent is not None and step.parent.startswith("train-"):
        return lambda name: False
    initial = step.config.get("initial")
    if initial is not None and initial["sha256"] == RANDOM:
        # block5 to block7 are copies of block4, whatever that holds.
        return lambda name: not name.startswith(tuple(f"backbone.block{b}." for b in (5, 6, 7)))
    return lambda name: not name.startswith("backbone.")


def _generated(data: Mapping[str, str]) -> bool:
    """Whether a split is one of the generated sets', of any recipe."""
    role, split = data["role"], data["split"]
    sources = (
        Sources(by_role={role: Source(role=role, at=EMBEDDED + name)}) for name in embedded.RECIPES
    )
    return any(one.fingerprint(role, split) == data["fingerprint"] for one in sources)
