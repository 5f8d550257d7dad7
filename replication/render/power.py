"""How many seeds each claim still needs, on a terminal."""

import textwrap
from collections.abc import Iterable
from itertools import groupby

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from replication.claims import ALPHA
from replication.cost import Cost
from replication.power import MOST, Outlook, Prospect
from replication.reading import POWER
from replication.spec.names import heading, listed

STYLES = {"shown": "green", "needs": "", "too many": "red", "level": "red"}
# Of a claim's sentence, which its table prints whole.
SENTENCE = 80


def show(outlook: Outlook, console: Console, *, command: str = "") -> None:
    """Print it; `command` is what would give a deviation where none is on record."""
    parts: list[Text | Table] = []
    # The same columns in all tables: the paper's differences only where there are any.
    comparable = any(one.published is not None for one in outlook.prospects)
    for table, prospects in groupby(outlook.prospects, key=lambda one: one.table):
        parts += [Text(), Text(heading(table), style="bold"), _table(prospects, comparable)]
    if not outlook.prospects:
        parts.append(Text("No claims are made about these cells."))
    parts += [Text(), *(Text(line, style="dim") for line in _legend(outlook)), Text()]
    parts += [Text(line) for line in _closing(outlook)]
    console.print(Group(*parts), highlight=False)
    if command:
        console.print(Text(f"  {command}"), highlight=False, soft_wrap=True)


def _table(prospects: Iterable[Prospect], comparable: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    table.add_column("claim, and what decides it", ratio=1)
    numbers = {"seeds": 5, "seen": 6, "paper": 6, "deviation": 9, "can show": 8}
    for name, width in numbers.items():
        if comparable or name != "paper":
            table.add_column(name, justify="right", no_wrap=True, width=width)
    table.add_column("seeds in all", width=21)
    table.add_column("still to run", width=19)
    for one in prospects:
        says = Text(f"“{textwrap.shorten(one.says, SENTENCE, placeholder=' …')}”")
        says.append(f"\n{one.decides}", style="dim")
        shown = [
            _points(one.difference, "+.2f"),
            _points(one.deviation, ".2f") + ("*" if one.assumed else ""),
            _points(one.smallest, ".2f"),
        ]
        if comparable:
            shown.insert(1, _points(one.published, "+.2f"))
        still = in_words(one.cost) if one.cost else ""
        answered = Text(answer(one), style=STYLES.get(one.state, "dim"))
        table.add_row(says, str(one.n), *shown, answered, still)
    return table


def answer(one: Prospect) -> str:
    """What seeds can do for the claim, in words."""
    if one.state == "shown":
        return "already shown" if not one.opposite else "the opposite is already shown"
    if one.state == "level":
        return "none: no difference is seen"
    if one.state == "not by seeds":
        return f"not by seeds: {one.remark}"
    if one.state == "no deviation":
        return one.remark or "no deviation yet"
    number = f"{one.seeds:,}" if one.seeds is not None else f"more than {MOST:,}"
    if one.opposite:
        return f"none: it goes the other way; {number} would show the opposite"
    return f"{number} seeds"


def in_words(cost: Cost) -> str:
    """Steps and their time: "2 trainings, 4 evaluations: about 40 minutes"."""
    if not cost.steps:
        return "nothing"
    kinds = [(cost.trainings, "training"), (cost.evaluations, "evaluation")]
    steps = ", ".join(f"{n:,} {kind}{'' if n == 1 else 's'}" for n, kind in kinds if n)
    if cost.untimed == cost.steps:
        return f"{steps}: time unknown"
    text = f"{steps}: {about(cost.seconds)}"
    return f"{text}, and {cost.untimed:,} more of unknown time" if cost.untimed else text


def about(seconds: float) -> str:
    """A time to two digits."""
    if seconds < 60:
        return "under a minute"
    amount, unit = (seconds / 60, "minutes") if seconds < 2 * 3600 else (seconds / 3600, "hours")
    shown = float(f"{amount:.2g}")
    return f"about {shown:,g} {unit.removesuffix('s') if shown == 1 else unit}"


def _points(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _legend(outlook: Outlook) -> list[str]:
    lines = [
        "In points of mIoU. Seeds in all: those with which all differences of the claim, were they "
        f"those seen, are shown together with a chance of {POWER:.0%}, at {ALPHA:g} / (2 × the "
        "table's claims): the least that Holm's correction allows. Can show: the smallest "
        "difference (or distance from what the claim allows) that the seeds on record show "
        "with that chance.",
        "These are plans: from three seeds the true deviation may be half the one seen or six "
        "times it, and the difference seen is uncertain too. Time: of the steps one after "
        "another, as long as the same steps took under other seeds.",
        "No number of seeds decides what the choice of evaluated pictures does (see "
        "`replication.compare`), nor whether what one tier shows is so at another.",
    ]
    if any(one.assumed for one in outlook.prospects):
        lines.append(
            "* assumed: the deviation given for one cell, in differences of cells that scatter "
            "independently; the difference planned for is the paper's where numbers are comparable"
        )
    return lines


def _closing(outlook: Outlook) -> list[str]:
    states = [one.state for one in outlook.prospects]
    if not states:
        return []
    tally = {
        "already shown": states.count("shown"),
        "to be decided by more seeds": states.count("needs"),
        "out of reach": states.count("too many") + states.count("level"),
        "without a deviation yet": states.count("no deviation"),
        "not to be decided by seeds": states.count("not by seeds"),
    }
    counted = ", ".join(f"{n} {what}" for what, n in tally.items() if n)
    lines = [f"{len(states)} claim{'s' if len(states) > 1 else ''}: {counted}"]
    if known := states.count("needs"):
        lines.append(
            f"more seeds for the {known}, shared steps counted once: {in_words(outlook.total)}"
        )
    if outlook.unknown:
        which = f"table{'s' if len(outlook.unknown) > 1 else ''} {listed(outlook.unknown)}"
        lines.append(
            f"{outlook.first_seeds} seeds in all would give {which} a deviation: "
            f"{in_words(outlook.first_cost)}"
        )
    return lines
