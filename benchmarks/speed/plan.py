"""The plan: one training for equal cells beside one each; two workers beside one.

Real runs of the command on the micro tier, its iterations cut to a tenth, the pretrained backbones
copied into every results folder.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.commands import python
from benchmarks.speed.alternating import Comparison, alternate
from replication.arguments import HOME

# One model under four evaluations, in three tables.
EQUAL = ("table5/mg124-pooling", "table6/os8", "table8/crop513-ul-bn", "table9/batch16")
# Four trainings of equal length.
DIFFERENT = tuple(f"table3/mg{grid}-block4" for grid in ("111", "121", "123", "124"))
AIM_WORKERS = 1.4


def compare(repetitions: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as scratch:
        bench = _Bench(Path(scratch))
        of_ours, of_theirs = alternate(
            lambda: bench.run([EQUAL], workers=1),
            lambda: bench.run([(cell,) for cell in EQUAL], workers=1),
            repetitions,
        )
        yield Comparison(
            what="plan, four cells of one model",
            theirs_is="a training a cell",
            ours=tuple(of_ours),
            theirs=tuple(of_theirs),
        )
        of_ours, of_theirs = alternate(
            lambda: bench.run([DIFFERENT], workers=2),
            lambda: bench.run([DIFFERENT], workers=1),
            repetitions,
        )
        yield Comparison(
            what="four trainings, two workers of one thread",
            theirs_is="one worker of one thread",
            ours=tuple(of_ours),
            theirs=tuple(of_theirs),
            target=AIM_WORKERS,
        )


class _Bench:
    """A tier of a tenth of micro's iterations, and its pretrained backbone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tiers = folder / "tiers"
        tiers.mkdir()
        text = (HOME / "tiers" / "micro.toml").read_text()
        for full, tenth in {
            "voc = 0.0166667": "voc = 0.00166667",
            "coco = 0.0166667": "coco = 0.00166667",
            "cityscapes = 0.00555556": "cityscapes = 0.000555556",
            "iterations = 3000": "iterations = 100",
        }.items():
            assert full in text, full
            text = text.replace(full, tenth)
        (tiers / "tenth.toml").write_text(text)
        self.pretrained = folder / "pretrained"
        self._run(EQUAL[:1], self.pretrained, 1)

    def run(self, groups: list[tuple[str, ...]], *, workers: int) -> None:
        """Each group of cells in a fresh results folder."""
        for number, cells in enumerate(groups):
            results = self.folder / f"results-{number}"
            shutil.rmtree(results, ignore_errors=True)
            for record in (self.pretrained / "tenth" / "steps").glob("pretrain-*"):
                shutil.copytree(record, results / "tenth" / "steps" / record.name)
            self._run(cells, results, workers)

    def _run(self, cells: tuple[str, ...], results: Path, workers: int) -> None:
        asked = [word for cell in cells for word in ("--cell", cell)]
        python(
            "-m", "replication.run", *asked, "--tier", "tenth", "--tiers",
            str(self.folder / "tiers"), "--results", str(results), "--workers", str(workers),
            "--device", "cpu",
        )  # fmt: skip
