"""What would run: the cells, every training with its protocol, the data and weights it needs;
and how many seeds more the claims need.
"""

import json
import shlex
from dataclasses import asdict
from typing import Any

from rich.console import Console

from replication import arguments
from replication.asked import Asked
from replication.collect import on_record
from replication.cost import Prices, last_seed
from replication.data.sources import MISSING, Sources
from replication.plan import RANDOM, Plan, initial_weights, not_given, overview
from replication.power import look_ahead
from replication.render import power
from replication.runs import Store
from replication.spec.names import cell_name

NUMBERS = ("iterations", "batch", "crop", "stride", "rate")


def show(asked: Asked, console: Console) -> None:
    """Print what would run, or with --power what seeds would settle; --json is for programs."""
    if asked.options.power:
        _ahead(asked, console)
    elif asked.options.json:
        print(json.dumps(overview(asked.plan, asked.store), indent=1))
    else:
        _show(asked.plan, asked.store, asked.sources, console)


def _show(plan: Plan, store: Store, sources: Sources, console: Console) -> None:
    """The plan for people; `plan.overview` is the same for programs."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    shown = overview(plan, store)
    for cell in shown["cells"]:
        name = cell_name(cell["table"], cell["cell"])
        ids = [*cell["training"], cell["evaluation"]]
        steps = " → ".join(_short(id_) if id_ else "scored by the test server" for id_ in ids)
        say(f"{name:<28} seed {cell['seed']}  {cell['status']:<8} {steps}")
    say("")
    for line in _trainings(shown):
        say(line)
    say("")
    for role, splits in reads(plan).items():
        at = sources.by_role[role].at
        if MISSING in splits.values():
            say(f"data {role:<11} missing: give --data {role}=PATH (data_scripts/ prepares it)")
        else:
            listed = ", ".join(_counted(sources, role, split) for split in splits)
            say(f"data {role:<11} {listed}  in {at}")
    for backbone, sha256 in initial_weights(plan).items():
        missing = f"missing: give --weights {backbone}=FILE (data_scripts/imagenet_weights.py)"
        said = {MISSING: missing, RANDOM: "none: as initialised"}
        say(f"weights {backbone:<8} {said.get(sha256, f'sha256 {sha256}')}")
    say(f"\n{len(shown['cells'])} cells at the {plan.tier.name} tier")
    chains = sum(len(run.chain) for run in plan.runs)
    evaluated = sum(run.evaluation is not None for run in plan.runs)
    for kind, unshared in (("trainings", chains), ("evaluations", evaluated)):
        tally = shown[kind]
        states = ", ".join(f"{n} {state}" for state, n in tally.items() if state != "unique" and n)
        say(f"{tally['unique']} {kind} ({unshared} without sharing): {states or 'none'}")


def _trainings(shown: dict[str, Any]) -> list[str]:
    """Every unique training, one a line: on what, for how long, how, after what."""
    rows = [
        ("training", "first asked for by", "data", "after", "status", *NUMBERS, "BN"),
    ]
    for step in shown["steps"]:
        config = step["config"]
        if step["kind"] == "evaluate":
            continue
        stage = config.get("stage") or config["pretraining"]
        if "initial" in config:
            after = f"{config['initial']['backbone']} weights"
        else:
            after = _short(step["parent"]) if step["parent"] else ""
        rows.append(
            (
                _short(step["id"]),
                step["label"].partition(" ")[2].partition(" on ")[0],
                f"{config['data']['role']} {config['data']['split']}",
                after,
                step["status"],
                f"{stage['iterations']:,}",
                *(str(stage[key]) for key in ("batch_size", "crop_size", "output_stride")),
                f"{stage['learning_rate']:g}",
                stage.get("batch_norm", "trained"),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numeric = range(5, 5 + len(NUMBERS))
    return [
        "  ".join(
            text.rjust(width) if column in numeric else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _short(step_id: str) -> str:
    kind, _, digest = step_id.partition("-")
    return f"{kind} {digest[:6]}"


def _counted(sources: Sources, role: str, split: str) -> str:
    """A real split with its number of pictures; a generated one may not be made yet."""
    source = sources.by_role[role]
    if source.recipe is not None or role == "imagenet":
        return split
    return f"{split} {len(sources.ids(role, split)):,}"


def reads(plan: Plan) -> dict[str, dict[str, str]]:
    """The splits that the plan reads, by role, with their fingerprints."""
    found: dict[str, dict[str, str]] = {}
    for step in plan.steps.values():
        data = step.config["data"]
        found.setdefault(data["role"], {})[data["split"]] = data["fingerprint"]
    return found


def _ahead(asked: Asked, console: Console) -> None:
    """Print how many seeds the claims on these tables or cells need, from all those on record."""
    tier, options = asked.tier, asked.options
    last = max(tier.first_seed + tier.seeds - 1, last_seed(asked.store) or 0)
    plan = asked.plan_of(range(tier.first_seed, last + 1))
    further = asked.plan_of([last + 1])
    outlook = look_ahead(
        Prices(plan=plan, further=further, store=asked.store),
        on_record(plan, asked.store, {}, asked.examined(plan)),
        cells=asked.cells,
        deviation=options.deviation,
    )
    words = [word for key in outlook.unknown for word in ("--table", str(key))]
    words += ["--tier", options.tier, "--seeds", str(outlook.first_seeds)]
    for option in ("data", "weights"):
        words += [word for given in getattr(options, option) for word in (f"--{option}", given)]
    words += [*not_given(further.steps.values()), *arguments.places(options)]
    command = shlex.join(["python", "-m", "replication.run", *words]) if outlook.unknown else ""
    if options.json:
        found = {**asdict(outlook), "command": command}
        print(json.dumps({**overview(plan, asked.store), "power": found}, indent=1))
    else:
        power.show(outlook, console, command=command)
