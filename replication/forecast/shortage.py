"""What to say of a job that ran out of memory: what it needs, and what would fit. No torch."""

from collections.abc import Sequence

from replication.data.sources import Sources
from replication.forecast.memory import gigabytes, of_sweep, of_training, what_would_fit
from replication.forecast.pictures import Splits
from replication.runs import Step


def lacking(
    job: Sequence[Step], sources: Sources, kind: str, available: float | None, side_by_side: int = 1
) -> str:
    """What a job needs of memory, and what would fit into what is available.

    Of jobs that ran `side_by_side` in one memory, each may be small enough.
    """
    role, split = (job[0].config["data"][key] for key in ("role", "split"))
    data = Splits(sources).of(role, split)
    configs = [step.config for step in job]
    sweep = job[0].kind == "evaluate"
    if sweep:
        needed = of_sweep(configs, data.classes, data.sizes, kind).total
    else:
        needed = of_training(configs[0], data.classes, kind).total
    if available and needed <= available < needed * side_by_side:
        return (
            f"(needs about {gigabytes(needed)}, the device has {gigabytes(available)}): "
            f"{side_by_side} such side by side are too many; "
            f"--workers {int(available // needed)} would fit"
        )
    if sweep:
        there = f", the device has {gigabytes(available)}" if available else ""
        return f"(needs about {gigabytes(needed)}{there})"
    return what_would_fit(configs[0], data.classes, kind, available)
