"""The plan: one training for equal cells beside one each.

Real runs of the command on the micro tier, its iterations cut to a tenth, the pretrained backbones
copied into every results folder. Every run is one command, which starts its workers once.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.commands import python
from benchmarks.networks import tier
from benchmarks.speed.alternating import Comparison, compared
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.plan import Plan, build
from replication.spec import load_tables
from replication.spec.tables import PROTOCOL_FILE

# One training and two evaluations, for four tables.
EQUAL = ("table5/mg124-pooling", "table6/os8", "table8/crop513-ul-bn", "table9/batch16")
# The same four as cells of a table of their own: the weight decays, which cost nothing, are told
# apart by a millionth, so that each is trained and evaluated.
APART = """
name = "apart"
title = "Four cells of one model, no two of them equal"
source = "arXiv:1706.05587, Tables 5, 6, 8 and 9"

[training]
backbone = "resnet101"
multi_grid = [1, 2, 4]
head = "aspp"
atrous_rates = [6, 12, 18]
image_pooling = true
output_stride = 16
"""
STRIDES = (16, 8, 16, 16)


def compare(repetitions: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        yield compared(
            partial(bench.run, EQUAL),
            bench.run_apart,
            repetitions,
            what="plan, four cells of one model",
            theirs_is="a training and an evaluation a cell",
            note=sharing(everything()),
        )


def everything() -> Plan:
    """The plan of `--all` at the micro tier, under one seed."""
    micro = tier("micro")
    papers = [table for table in load_tables(HOME / "tables") if table.number is not None]
    return build(papers, micro, Sources.of(micro.data, {}), (micro.first_seed,))


def sharing(plan: Plan) -> str:
    """What a whole plan saves by its own count; a pretraining is a training too."""
    asked = sum(len(run.chain) for run in plan.runs)
    unique = len({step.id for run in plan.runs for step in run.chain})
    return (
        f"--all, under one seed, asks for {asked} trainings, of which {unique} are different: "
        f"{asked / unique:.2f} times as many."
    )


class Bench:
    """Tiers of a tenth of micro's iterations, on one thread and two, and a pretrained backbone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (("tiers/tenth.toml", tenth(1)), ("tiers/tenth-2.toml", tenth(2))):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        write_apart(folder / "tables")
        self.pretrained = folder / "pretrained"
        self._run(["--cell", EQUAL[0]], self.pretrained)

    def run(self, cells: tuple[str, ...], *, workers: int = 1, threads: int = 1) -> None:
        """The cells in a fresh results folder."""
        asked = [word for cell in cells for word in ("--cell", cell)]
        self._run(asked, self._fresh(threads), workers=workers, threads=threads)

    def run_apart(self) -> None:
        """The equal cells, each trained and evaluated, in a fresh results folder."""
        tables = str(self.folder / "tables")
        self._run(["--table", "apart", "--tables", tables], self._fresh(1))

    def at_work(self) -> float:
        """Seconds that the last run's jobs took, all together, by their records."""
        total = 0.0
        for outcome in (self.folder / "results").glob("*/steps/*/outcome.json"):
            if not outcome.parent.name.startswith("pretrain"):
                total += json.loads(outcome.read_text())["seconds"]
        return total

    def _fresh(self, threads: int) -> Path:
        results = self.folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        for record in (self.pretrained / _name(1) / "steps").glob("pretrain-*"):
            shutil.copytree(record, results / _name(threads) / "steps" / record.name)
        return results

    def _run(self, asked: list[str], results: Path, *, workers: int = 1, threads: int = 1) -> None:
        python(
            "-m", "replication.run", *asked, "--tier", _name(threads), "--tiers",
            str(self.folder / "tiers"), "--results", str(results), "--workers", str(workers),
            "--device", "cpu",
        )  # fmt: skip


def _name(threads: int) -> str:
    return "tenth" if threads == 1 else f"tenth-{threads}"


def tenth(threads: int) -> str:
    """The micro tier's file with a tenth of its iterations."""
    text = (HOME / "tiers" / "micro.toml").read_text()
    for full, changed in {
        "threads = 1": f"threads = {threads}",
        "voc = 0.0233333": "voc = 0.00233333",
        "coco = 0.0233333": "coco = 0.00233333",
        "cityscapes = 0.00777778": "cityscapes = 0.000777778",
        "iterations = 3000": "iterations = 100",
    }.items():
        assert full in text, full
        text = text.replace(full, changed)
    return text


def write_apart(folder: Path) -> None:
    """A folder of tables that holds these cells alone, under the paper's protocol."""
    folder.mkdir()
    shutil.copy(HOME / "tables" / PROTOCOL_FILE, folder)
    cells = [
        f'[[cells]]\nid = "cell{i}"\nweight_decay = {1e-4 * (1 + 1e-6 * i)!r}\n'
        f"evaluation = {{ output_stride = {stride} }}\n"
        for i, stride in enumerate(STRIDES)
    ]
    (folder / "apart.toml").write_text("\n".join([APART.lstrip(), *cells]))
