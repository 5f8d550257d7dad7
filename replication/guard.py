"""No number from pictures that a network was trained on."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from replication.data.sources import Sources
from replication.plan import CellRun
from replication.runs import Step


def leaks(runs: Iterable[CellRun], sources: Sources) -> list[str]:
    """One line for every cell whose evaluation split holds pictures of one of its trainings.

    The data must be at hand: ids are compared, not the names of splits.
    """
    ids = cache(sources.ids)
    found: dict[str, None] = {}
    for run in runs:
        if run.evaluation is not None:
            for line in chain_leaks(run.chain, run.evaluation.config, sources, ids):
                found[f"{run.name}: {line}"] = None
    return list(found)


def chain_leaks(
    chain: Sequence[Step], evaluation: Mapping[str, Any], sources: Sources, ids: Any = None
) -> list[str]:
    """The same for one chain of stages, stage by stage."""
    ids = ids or sources.ids
    role, split = evaluation["data"]["role"], evaluation["data"]["split"]
    at = sources.by_role[role].at
    lines = []
    for number, step in enumerate(chain, start=1):
        stage = step.config.get("stage")
        if stage is None or sources.by_role[stage["data"]].at != at or stage["data"] != role:
            continue
        tested = ids(role, split)
        shared = tested & ids(role, stage["split"])
        if shared:
            lines.append(
                f"stage {number} trained on {role} {stage['split']}, which holds {len(shared):,} "
                f"of the {len(tested):,} pictures of {split} (such as {min(shared)}); no number "
                f"on {split} may come from this chain: evaluate it on another split, or end the "
                "chain before that stage"
            )
    return lines
