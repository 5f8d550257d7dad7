"""Results held against one reference: bit for bit where that may be asked, else by a test.

The same step in the same class of environment must give the same first losses and mIoU, on the
CPU. Under another VERSION, in another environment, or for other seeds, the cell's seeds are
compared by `regression`. Nothing is compared across configurations, and nothing missing passes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from replication.environment import numerics
from replication.errors import RunError
from replication.plan import CellRun, Plan
from replication.reference.files import Failed, Measured, Reference, Run, changed_keys, measured
from replication.reference.findings import Finding, Status
from replication.reference.regression import Decision, compare
from replication.runs import Store
from replication.spec.names import cell_name

# Differing keys that a line names; the others are counted.
NAMED = 6
STATUS: Mapping[Decision, Status] = {
    "no worse": "no worse",
    "worse": "regression",
    "undecided": "not checked",
}

# (cell, seed, whether into a folder of its own) -> the command that runs it
Command = Callable[[str, int, bool], str]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One reference and what it is held against."""

    reference: Reference
    # Its file's name.
    name: str
    plan: Plan
    store: Store
    # Whether the plan's seeds were asked for, or are to be each cell's own in the reference.
    seeds_given: bool
    # Points of mIoU, and the error of either one-sided test.
    margin: float
    alpha: float
    command: Command


def findings(check: Check) -> Iterator[Finding]:
    """On every cell of the reference, and every measurable one that it lacks."""
    planned: dict[str, dict[int, CellRun]] = {}
    for run in check.plan.runs:
        if run.evaluation is not None:
            planned.setdefault(run.cell, {})[run.seed] = run
    for cell, runs in check.reference.cells.items():
        recorded = {run.seed: run for run in runs}
        if cell in planned:
            wanted = planned[cell]
            if not check.seeds_given:
                wanted = {seed: wanted[seed] for seed in recorded}
            yield from _Cell(check=check, id=cell, recorded=recorded, planned=wanted).findings()
        else:
            yield Finding(
                status="not checked",
                reference=check.name,
                cell=cell_name(check.reference.table, cell),
                seeds=tuple(recorded),
                text="the table has no such cell that could be measured; the reference has",
            )
    for cell in planned.keys() - check.reference.cells.keys():
        yield Finding(
            status="not checked",
            reference=check.name,
            cell=cell_name(check.reference.table, cell),
            text="the reference does not have it; record it with --update",
        )


@dataclass(frozen=True, kw_only=True)
class _Cell:
    check: Check
    id: str
    # By seed.
    recorded: Mapping[int, Run]
    planned: Mapping[int, CellRun]

    def findings(self) -> Iterator[Finding]:
        found: dict[int, Measured] = {}
        to_test: dict[int, str] = {}
        for seed, run in self.planned.items():
            changed = self._changed(seed, run)
            if changed:
                yield self._finding("not checked", changed, seed)
                continue
            try:
                found[seed] = measured(run, self.check.store)
            except Failed as problem:
                yield self._finding("regression", f"{problem}; {self._values()}", seed, afresh=True)
                continue
            except RunError as problem:
                yield self._finding("not checked", f"{problem}", seed, afresh=False)
                continue
            why = self._why_not_exact(seed, found[seed])
            if why is None:
                yield self._exact(self.recorded[seed], found[seed].run)
            else:
                to_test[seed] = why
        if to_test:
            yield from self._tested(found, to_test)

    def _finding(
        self, status: Status, text: str, *seeds: int, afresh: bool | None = None
    ) -> Finding:
        """`afresh`: whether its command runs into a folder of its own; None for no command."""
        name = cell_name(self.check.reference.table, self.id)
        command = "" if afresh is None else self.check.command(name, max(seeds), afresh)
        return Finding(
            status=status,
            reference=self.check.name,
            cell=name,
            seeds=seeds,
            text=text,
            command=command,
        )

    def _values(self) -> str:
        listed = ", ".join(f"{run.miou:.2f}" for run in self.recorded.values())
        return f"the reference's mIoU is {listed}"

    def _changed(self, seed: int, run: CellRun) -> str | None:
        """Which keys of the configuration changed since the reference, as one line."""
        known = self.recorded.get(seed)
        model = known or next(iter(self.recorded.values()))
        if known is not None and [step.id for step in run.steps] == list(known.steps):
            return None
        keys = changed_keys(
            self.check.reference.identities(model), run.steps, apart=() if known else ("seed",)
        )
        if not keys:
            return None
        more = f"; and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        hint = (
            "give --data and --weights as in its run; " if "'missing' planned" in str(keys) else ""
        )
        return (
            f"could not check: reference is from another configuration "
            f"({'; '.join(keys[:NAMED])}{more}); {hint}if the change is meant, record it afresh "
            "with --update"
        )

    def _why_not_exact(self, seed: int, now: Measured) -> str | None:
        """Why bits may differ between the reference's run and this one, or None."""
        known, reference = self.recorded.get(seed), self.check.reference
        if known is None:
            return "the reference does not have this seed"
        versions = [
            reference.steps[known.evaluation].identity.version,
            self.planned[seed].steps[-1].identity["version"],
        ]
        if known.steps != now.run.steps:
            return f"VERSION {versions[0]} recorded, {versions[1]} now"
        for id_ in known.steps:
            before, here = reference.environment(id_), now.environments[id_]
            if differing := _differing(numerics(before), numerics(here)):
                return f"another environment: {differing}"
            if here.get("device") != "cpu":
                return "not the CPU, where alone bits are the same from run to run"
        return None

    def _exact(self, before: Run, now: Run) -> Finding:
        """The same step in the same environment."""
        seed = before.seed
        said = f"mIoU {now.miou!r} measured, {before.miou!r} in the reference"
        pairs = list(zip(now.losses, before.losses, strict=False))
        unequal = [number for number, (a, b) in enumerate(pairs) if a != b]
        if unequal:
            a, b = pairs[unequal[0]]
            said += (
                f"; logged loss {unequal[0] + 1} of {len(before.losses)}: {a!r} measured, {b!r} in "
                "the reference"
            )
        if unequal or now.miou != before.miou:
            return self._finding(
                "regression",
                f"{said}; same configuration and environment, so that both must be equal to the "
                "bit; a change that is meant raises VERSION in replication/runs.py",
                seed,
                afresh=True,
            )
        if len(now.losses) != len(before.losses):
            return self._finding(
                "not checked",
                f"{said}; the first {len(now.losses)} logged losses are on record here, "
                f"{len(before.losses)} in the reference",
                seed,
                afresh=True,
            )
        losses = f"{len(pairs)} logged loss{'es' if len(pairs) > 1 else ''}"
        text = f"mIoU {now.miou!r} and {losses}, the reference's to the bit"
        return self._finding("same", text, seed)

    def _tested(self, found: Mapping[int, Measured], why: Mapping[int, str]) -> Iterator[Finding]:
        """All the cell's seeds on either side, for those seeds that bits cannot decide."""
        if found.keys() - why.keys() and why.keys().isdisjoint(self.recorded):
            # The seeds that both have are the same to the bit or not: there is nothing to test.
            for seed, reason in why.items():
                yield self._finding("not checked", f"{reason}; record it with --update", seed)
            return
        result = compare(
            {seed: run.miou for seed, run in self.recorded.items()},
            {seed: one.run.miou for seed, one in found.items()},
            margin=self.check.margin,
            alpha=self.check.alpha,
        )
        text = f"{result} ({'; '.join(dict.fromkeys(why.values()))})"
        if result.decision == "undecided":
            text = f"undecided: {text}; more seeds or a larger --margin would decide"
        status = STATUS[result.decision]
        yield self._finding(status, text, *why, afresh=None if status == "no worse" else True)


def _differing(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    lines = [
        f"{key} {_short(recorded[key])} recorded, {_short(here[key])} here"
        for key in recorded
        if recorded[key] != here[key]
    ]
    return ", ".join(lines)


def _short(value: Any) -> str:
    text = str(value) or "none"
    return text if len(text) <= 40 else f"{text[:37]}…"
