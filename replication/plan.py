"""From cells to unique steps: what there is to do, what is done, what shares what."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from replication.data.sources import MISSING, Sources
from replication.forecast.effort import weight
from replication.protocol import Evaluation, Network
from replication.runs import Status, Step, Store
from replication.spec import Cell, Table, TableKey
from replication.spec.names import cell_name
from replication.tiers import Tier, scale

# In the place of a weight file's hash: the backbone starts as initialised.
RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """One cell under one seed: its chain of trainings and its evaluation.

    A cell that only a test server can score is trained and has no evaluation of ours.
    """

    table: TableKey
    cell: str
    seed: int
    chain: tuple[Step, ...]
    evaluation: Step | None

    @property
    def name(self) -> str:
        return cell_name(self.table, self.cell)

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.chain if self.evaluation is None else (*self.chain, self.evaluation)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every step that the chosen cells need, each once, parents before children."""

    tier: Tier
    tables: tuple[Table, ...]
    runs: tuple[CellRun, ...]
    steps: Mapping[str, Step]
    # For people: what a step is, by the first cell that asked for it.
    labels: Mapping[str, str]

    def of_kind(self, *kinds: str) -> list[Step]:
        return [step for step in self.steps.values() if step.kind in kinds]

    def children(self, step_id: str) -> list[Step]:
        return [step for step in self.steps.values() if step.parent == step_id]


def available(cell: Cell, tier: Tier) -> str | None:
    """Why a cell of ours cannot be measured here at this tier, or None."""
    if cell.unavailable and cell.needs == "test labels" and cell.evaluation is not None:
        # A generated test set has labels; a real one's are the evaluation server's.
        return None if tier.generated(cell.evaluation.data) else cell.unavailable
    return cell.unavailable


def build(
    tables: Sequence[Table],
    tier: Tier,
    sources: Sources,
    seeds: Sequence[int],
    *,
    only: Iterable[str] | None = None,
    weights: Mapping[str, str] | None = None,
) -> Plan:
    """Plan the cells of `tables`, or only those named `tableN/cell`, under every seed.

    `weights` are the hashes of pretrained backbones given by file, for tiers that do not pretrain.
    """
    wanted = set(only) if only is not None else None
    fingerprint = cache(sources.fingerprint)
    runs: list[CellRun] = []
    steps: dict[str, Step] = {}
    labels: dict[str, str] = {}
    for seed in seeds:
        for table in tables:
            for cell in table.cells:
                name = cell.name
                unavailable = available(cell, tier)
                # What a test server scores is trained here all the same.
                skip = cell.network is None or (unavailable and cell.needs != "test labels")
                if skip or (wanted is not None and name not in wanted):
                    continue
                scaled = scale(cell, tier)
                chain = _chain(scaled, tier, fingerprint, seed, weights or {})
                evaluation = None if unavailable else _evaluation(scaled, chain[-1], fingerprint)
                runs.append(
                    CellRun(
                        table=table.key,
                        cell=cell.id,
                        seed=seed,
                        chain=chain,
                        evaluation=evaluation,
                    )
                )
                for step in runs[-1].steps:
                    steps.setdefault(step.id, step)
                    labels.setdefault(step.id, _label(step, name, seed))
    return Plan(tier=tier, tables=tuple(tables), runs=tuple(runs), steps=steps, labels=labels)


def _chain(
    cell: Cell, tier: Tier, fingerprint: Any, seed: int, weights: Mapping[str, str]
) -> tuple[Step, ...]:
    network = cell.network
    assert network is not None
    chain: list[Step] = []
    initial = None
    if tier.pretraining is not None:
        config = {
            "network": backbone_only(network).config(),
            "pretraining": tier.pretraining.config(),
            "data": _data("imagenet", "train", fingerprint),
            # Part of what a seed repeats: of one backbone's luck, no number of seeds would tell.
            "seed": seed,
        }
        chain.append(Step(kind="pretrain", config=config, parent=None))
    else:
        initial = {
            "backbone": network.backbone,
            "sha256": RANDOM if tier.weights == RANDOM else weights.get(network.backbone, MISSING),
        }
    for named in cell.stages:
        stage = named.stage
        config = {
            "network": network.config(),
            "stage": stage.config(),
            "data": _data(stage.data, stage.split, fingerprint),
            "seed": seed,
        }
        if initial is not None and not chain:
            config["initial"] = initial
        parent = chain[-1].id if chain else None
        chain.append(Step(kind="train", config=config, parent=parent))
    return tuple(chain)


def _evaluation(cell: Cell, trained: Step, fingerprint: Any) -> Step:
    evaluation = cell.evaluation
    assert evaluation is not None and cell.network is not None
    config = {
        "network": cell.network.config(),
        "evaluation": evaluation.config(),
        "data": _data(evaluation.data, evaluation.split, fingerprint),
    }
    return Step(kind="evaluate", config=config, parent=trained.id)


def _data(role: str, split: str, fingerprint: Any) -> dict[str, str]:
    return {"role": role, "split": split, "fingerprint": fingerprint(role, split)}


def backbone_only(network: Network) -> Network:
    """The network that pretraining sees: what is not the backbone's is set to its plainest."""
    return network.model_copy(
        update={
            "last_block": 4,
            "multi_grid": (1, 1, 1),
            # A pretraining has unit rates of its own, and multiplies.
            "multi_grid_rule": "multiply",
            "head": "cascade",
            "atrous_rates": (),
            "atrous_rates_at_32": "halved",
            "image_pooling": False,
            "dropout": 0.0,
            "align_corners": True,
            "extra_block_gamma": 1.0,
            "aspp_gain": 1.0,
            "head_width": 1,
        }
    )


def _label(step: Step, cell: str, seed: int) -> str:
    if step.kind == "pretrain":
        return f"pretrain {step.config['network']['backbone']} seed {seed}"
    if step.kind == "evaluate":
        return f"evaluate {cell} seed {seed}"
    stage = step.config["stage"]
    return f"train {cell} on {stage['data']} {stage['split']} seed {seed}"


def not_given(steps: Iterable[Step]) -> list[str]:
    """The options of `replication.run` that are still to be given, with what to fill in."""
    chosen = list(steps)
    data = [step.config["data"] for step in chosen]
    roles = {one["role"] for one in data if one["fingerprint"] == MISSING}
    initial = [step.config["initial"] for step in chosen if "initial" in step.config]
    backbones = {one["backbone"] for one in initial if one["sha256"] == MISSING}
    words = [word for role in sorted(roles) for word in ("--data", f"{role}=PATH")]
    return words + [word for one in sorted(backbones) for word in ("--weights", f"{one}=FILE")]


def initial_weights(plan: Plan) -> dict[str, str]:
    """The pretrained backbones that trainings start from, with their files' hashes."""
    initial = [step.config.get("initial") for step in plan.steps.values()]
    return {one["backbone"]: one["sha256"] for one in initial if one}


def missing_weights(plan: Plan) -> list[str]:
    return sorted(b for b, sha256 in initial_weights(plan).items() if sha256 == MISSING)


def sweeps(steps: Iterable[Step]) -> list[list[Step]]:
    """Evaluations of one model on one split that can share their forward passes."""
    groups: dict[tuple[str, ...], list[Step]] = {}
    for step in steps:
        evaluation, data = Evaluation.whole(step.config["evaluation"]), step.config["data"]
        shared = ("crop_size", "whole_image", "precision", "deterministic")
        key = (str(step.parent), data["fingerprint"], *(str(evaluation[one]) for one in shared))
        groups.setdefault(key, []).append(step)
    return list(groups.values())


@cache
def work(*job: Step) -> float:
    """A job's rough cost in arbitrary units, to weigh jobs against each other.

    Counted FLOPs and bytes; evaluations in one sweep share their passes. `forecast` has seconds.
    """
    return weight([step.config for step in job])


def overview(plan: Plan, store: Store) -> dict[str, Any]:
    """What `--dry-run --json` prints: cells, steps, and how many of them are unique and done."""
    status: dict[str, Status] = {id_: store.status(step) for id_, step in plan.steps.items()}
    trainings, evaluations = plan.of_kind("pretrain", "train"), plan.of_kind("evaluate")

    def tally(steps: Sequence[Step]) -> dict[str, int]:
        states = [status[step.id] for step in steps]
        return {"unique": len(steps)} | {
            name: states.count(name) for name in ("done", "failed", "partial", "missing")
        }

    return {
        "tier": plan.tier.name,
        "cells": [
            {
                "table": run.table,
                "cell": run.cell,
                "seed": run.seed,
                "training": [step.id for step in run.chain],
                "evaluation": run.evaluation.id if run.evaluation else None,
                "status": _cell_status(run, status),
            }
            for run in plan.runs
        ],
        "trainings": tally(trainings),
        "evaluations": tally(evaluations),
        "steps": [
            {
                "id": id_,
                "kind": step.kind,
                "label": plan.labels[id_],
                "parent": step.parent,
                "status": status[id_],
                "config": step.config,
            }
            for id_, step in plan.steps.items()
        ],
    }


def _cell_status(run: CellRun, status: Mapping[str, Status]) -> str:
    states = [status[step.id] for step in run.steps]
    if states[-1] == "done":
        return "done"
    return "failed" if "failed" in states else "missing"
