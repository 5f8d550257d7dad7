"""What would run: the cells, every training and evaluation with its protocol, the data and weights
they need, what all that will cost; and how many seeds more the claims need.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from replication import arguments
from replication.asked import Asked
from replication.collect import on_record
from replication.cost import Prices, last_seed
from replication.data.sources import MISSING, Sources
from replication.errors import ReplicationError
from replication.forecast import shown as forecast
from replication.forecast.devices import here
from replication.forecast.outlook import Outlook, outlook
from replication.plan import RANDOM, Plan, initial_weights, not_given, overview, sweeps
from replication.power import look_ahead
from replication.render import power
from replication.runs import Store
from replication.spec.names import cell_name

NUMBERS = ("iterations", "batch", "crop", "stride", "rate")
COSTS = ("time", "memory", "disk")


def show(asked: Asked, console: Console) -> None:
    """Print what would run, or with --power what seeds would settle; --json is for programs."""
    if asked.options.power:
        _ahead(asked, console)
        return
    options = asked.options
    found, chosen = _forecast(asked)
    if options.json:
        costs = forecast.as_json(found, chosen)
        print(json.dumps({**overview(asked.plan, asked.store), "forecast": costs}, indent=1))
        return
    _show(asked.plan, asked.store, asked.sources, found, console)
    console.print()
    for line in forecast.lines(found, chosen=chosen):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _forecast(asked: Asked) -> tuple[Outlook, int]:
    """What is still to run will cost, after the probes if they are asked for; and on how many
    workers, or GPUs, it is to run.
    """
    options, tier = asked.options, asked.tier
    device = here(options.device, tier.threads, options.device_name)
    if options.gpus and device.kind != "cuda":
        raise ReplicationError(
            f"--gpus {options.gpus}: the forecast is for a CPU ({device.title}); name a GPU, as in "
            f"--device-name a100, or give --workers"
        )
    # On each device: several GPUs have a run each.
    workers = options.workers or device.workers

    def look() -> Outlook:
        return outlook(asked.plan, asked.store, asked.sources, device, workers=workers)

    found = look()
    if options.probe:
        _probe(found, workers)
        found = look()
    # Workers that share a GPU do not make it two.
    return found, options.gpus or (1 if device.kind == "cuda" else workers)


def _probe(found: Outlook, workers: int) -> None:
    """Measure what the forecast has only counted; said on stderr, as --json has stdout."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    shapes = found.shapes()
    if not shapes:
        console.print("probes: nothing to measure: every job's time is on record or probed")
        return
    seconds = forecast.amount(forecast.probing_seconds(found, workers))
    console.print(f"probes: {len(shapes)} distinct shapes, {workers} at a time: about {seconds}")
    # It imports torch.
    from replication.forecast.probing import measure_all

    problems = measure_all(shapes, found.prices.probes, workers, console)
    for label, problem in problems.items():
        console.print(f"probes: {label}: {problem}", markup=False)


def _show(plan: Plan, store: Store, sources: Sources, found: Outlook, console: Console) -> None:
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
    for line in _trainings(shown, found):
        say(line)
    say("")
    if evaluations := _evaluations(plan, shown, found):
        for line in evaluations:
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


def _trainings(shown: dict[str, Any], found: Outlook) -> list[str]:
    """Every unique training, one a line: on what, for how long, how, after what, at what cost."""
    rows = [
        ("training", "first asked for by", "data", "after", "status", *NUMBERS, "BN", *COSTS),
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
                *forecast.of_step(found, step["id"]),
            )
        )
    return forecast.columns(rows, [*range(5, 5 + len(NUMBERS)), *_costs(rows)])


def _evaluations(plan: Plan, shown: dict[str, Any], found: Outlook) -> list[str]:
    """Every unique evaluation; those of one sweep follow each other, and the first has its cost."""
    status = {step["id"]: step["status"] for step in shown["steps"]}
    rows = [("evaluation", "first asked for by", "data", "of", "status", "stride", "scales",
             "flips", *COSTS)]  # fmt: skip
    for sweep in sweeps(plan.of_kind("evaluate")):
        first = ""
        for step in sweep:
            one = step.config["evaluation"]
            own = forecast.of_step(found, step.id)
            # Later ones of the sweep are made with its first; each has counts of its own.
            cost = ("with it", "", own[2]) if first and any(own) else own
            first = first or own[0]
            rows.append(
                (
                    _short(step.id),
                    plan.labels[step.id].partition(" ")[2],
                    f"{step.config['data']['role']} {step.config['data']['split']}",
                    _short(step.parent or ""),
                    status[step.id],
                    str(one["output_stride"]),
                    str(len(one["scales"])),
                    "yes" if one["flip"] else "no",
                    *cost,
                )
            )
    return forecast.columns(rows, [5, 6, *_costs(rows)]) if rows[1:] else []


def _costs(rows: Sequence[Sequence[str]]) -> range:
    """The columns of the costs, the last."""
    return range(len(rows[0]) - len(COSTS), len(rows[0]))


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
