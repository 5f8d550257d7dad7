"""No number from pictures that a network was trained on."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from replication.data.sources import Source, Sources
from replication.plan import RANDOM, CellRun
from replication.results import LeakChecks
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
    lines = []
    for number, step in enumerate(chain, start=1):
        stage = step.config.get("stage")
        if stage is None or not _one_set(sources.by_role[stage["data"]], sources.by_role[role]):
            continue
        tested = ids(role, split)
        shared = tested & ids(stage["data"], stage["split"])
        if shared:
            lines.append(
                f"stage {number} trained on {stage['data']} {stage['split']}, which holds "
                f"{len(shared):,} of the {len(tested):,} pictures of {split} (such as "
                f"{min(shared)}); no number on {split} may come from this chain: evaluate it on "
                "another split, or end the chain before that stage"
            )
    return lines


def _one_set(one: Source, other: Source) -> bool:
    """Whether equal ids are equal pictures: one role, or two that the user gave one folder."""
    return one.role == other.role or (one.recipe is None and one.at == other.at)


def leak_checks(
    run: CellRun, applied: Collection[str] = (), lacking: Mapping[str, str] | None = None
) -> LeakChecks:
    """Which checks stand behind a number of this chain, and what none of them sees.

    `applied` and `lacking` are what the linter's examination of the evaluation's record says of
    its rules; the rule on leaks is "unseen".
    """
    lacking = lacking or {}
    initial = run.chain[0].config.get("initial", {})
    unseen_by_us = (
        [] if initial.get("sha256", RANDOM) == RANDOM else ["what the pretrained weights had seen"]
    )
    if run.evaluation is None:
        return LeakChecks(lacking=("the test server's pictures", *unseen_by_us))
    role, split = run.evaluation.config["data"]["role"], run.evaluation.config["data"]["split"]
    stages = [step.config["stage"] for step in run.chain if "stage" in step.config]
    splits = dict.fromkeys(stage["split"] for stage in stages if stage["data"] == role)
    others = dict.fromkeys(stage["data"] for stage in stages if stage["data"] != role)
    rule = "the linter's rule “unseen” on the record"
    made = []
    if splits:
        # No evaluation runs without it: `leaks` refuses the plan.
        made.append(f"ids of {role} {split} against those of {', '.join(splits)} at planning")
        if "unseen" in applied:
            made.append(rule)
    for_want = [f"{rule}, for want of {lacking['unseen']}"] if "unseen" in lacking else []
    elsewhere = [f"{other}'s pictures (ids of another set)" for other in others]
    return LeakChecks(made=tuple(made), lacking=(*for_want, *elsewhere, *unseen_by_us))
