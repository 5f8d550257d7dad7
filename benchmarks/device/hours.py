"""From measured rates to device-hours of all thirteen tables.

The rates are those of Table 6's network at crop 513; a step of another shape is taken to reach the
rate of the nearest one measured (its backbone's, at output stride 8, or at 16 for all above), and
its FLOPs are counted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from replication import plan as planning
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.forecast import effort
from replication.forecast.pictures import Splits
from replication.inference import BATCH_PIXELS
from replication.runs import Step
from replication.spec import load_tables
from replication.tiers import load_tier


def all_tables(
    trainings: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any] | None
) -> dict[str, dict[str, float]]:
    """Hours of the paper tier's unique steps under one seed, by precision."""
    tier = load_tier("paper", HOME / "tiers")
    tables = [table for table in load_tables(HOME / "tables") if table.number is not None]
    sources = Sources.of(tier.data, {})
    plan = planning.build(tables, tier, sources, (0,))
    splits = Splits(sources)
    found = {}
    for precision in ("fp32", "tf32", "bf16"):
        rates = {
            (one["backbone"], one["output_stride"]): row["flops_per_second"]
            for one in trainings
            for name, row in one["contestants"].items()
            if name == f"ours {precision}"
        }
        inference = ((evaluation or {}).get("precisions") or {}).get(precision)
        if not rates or inference is None:
            continue
        trained = evaluated = 0.0
        for step in plan.of_kind("train"):
            flops = effort.training(step.config, _split(step, splits).classes).flops
            trained += flops / _rate(step, rates) / 3600
        for sweep in planning.sweeps(plan.of_kind("evaluate")):
            split = _split(sweep[0], splits)
            configs = [step.config for step in sweep]
            sizes, pixels = split.sizes, BATCH_PIXELS["cuda"]
            flops = effort.sweep(configs, split.classes, sizes, pixels).flops
            evaluated += flops / inference["flops_per_second"] / 3600
        found[precision] = {
            "trainings": len(plan.of_kind("train")),
            "training_hours": trained,
            "evaluations": len(plan.of_kind("evaluate")),
            "evaluation_hours": evaluated,
            "hours": trained + evaluated,
            "rates_measured": len(rates),
        }
    return found


def _split(step: Step, splits: Splits) -> Any:
    return splits.of(step.config["data"]["role"], step.config["data"]["split"])


def _rate(step: Step, rates: Mapping[tuple[str, int], float]) -> float:
    backbone = step.config["network"]["backbone"]
    stride = 8 if step.config["stage"]["output_stride"] <= 8 else 16

    def distance(shape: tuple[str, int]) -> tuple[bool, bool]:
        return shape[1] != stride, shape[0] != backbone

    return rates[min(rates, key=distance)]
