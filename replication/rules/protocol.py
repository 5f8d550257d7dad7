"""A training's log and outcome against its protocol: learning rates and iterations."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from replication.rules.deviation import Deviation


def learning_rates(
    log: Sequence[Mapping[str, Any]], protocol: Mapping[str, Any]
) -> list[Deviation]:
    """The first, the middle and the last logged learning rate, to 1e-9 of their values.

    An entry that says iteration n was written after the n-th update, whose rate is section 4.1's
    initial (1 - (n - 1) / iterations)^power: here by logarithms, as the training does not have it.
    """
    found = []
    for entry in {id(one): one for one in (log[0], log[len(log) // 2], log[-1])}.values():
        iteration, rate = entry["iteration"], entry["learning_rate"]
        left = math.log1p(-(iteration - 1) / protocol["iterations"])
        must = protocol["learning_rate"] * math.exp(protocol["power"] * left)
        if not math.isclose(rate, must, rel_tol=1e-9):
            found.append(
                Deviation(
                    value=f"learning rate {rate:.10g} at iteration {iteration:,}",
                    expected=f"{must:.10g}",
                )
            )
    return found


def iterations(
    log: Sequence[Mapping[str, Any]], outcome: Mapping[str, Any], planned: int
) -> list[Deviation]:
    """As many iterations as planned, by the outcome and by the log, each logged once."""
    found = []
    done = [entry["iteration"] for entry in log]
    for where, value in (("the outcome", outcome.get("iterations")), ("the log", done[-1])):
        if value != planned:
            found.append(
                Deviation(value=f"{where} ends at iteration {value}", expected=f"{planned}")
            )
    if done != sorted(set(done)):
        found.append(Deviation(value="the log repeats iterations", expected="each once, in order"))
    others = {entry["iterations"] for entry in log} - {planned}
    if others:
        found.append(
            Deviation(
                value=f"the log counts towards {', '.join(map(str, sorted(others)))} iterations",
                expected=f"{planned}",
            )
        )
    return found
