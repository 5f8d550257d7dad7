"""How the time grows with what is asked for: `python -m benchmarks.growth --write docs`.

Medians of repetitions in turn, one thread, at micro shapes. Nothing else should be running.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from benchmarks.given import at_least_one, writable
from benchmarks.growth import resuming, work
from benchmarks.growth.curves import Curve, as_markdown
from benchmarks.machine import where
from replication import arguments
from replication.files import write_atomically


def main(given: Sequence[str] | None = None) -> int:
    parser = arguments.Parser(
        prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repetitions", type=int, default=5, help="of each size (5)")
    parser.add_argument("--only", choices=["work", "resuming"])
    parser.add_argument("--write", type=Path, metavar="DIR", help="DIR/growth.md and growth.png")
    options = parser.parse_args(given)
    return arguments.guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    at_least_one(repetitions=options.repetitions)
    if options.write:
        writable(options.write / "growth.md")
    curves: list[Curve] = []
    if options.only != "resuming":
        for one in work.curves(options.repetitions):
            print("\n".join(as_markdown([one])), flush=True)
            curves.append(one)
    if options.only != "work":
        curves.append(resuming.curve(options.repetitions))
        print("\n".join(as_markdown(curves[-1:])), flush=True)
    if options.write:
        page = [
            "# How the time grows", "",
            "`python -m benchmarks.growth --write docs` measures this page: medians of "
            f"{options.repetitions} repetitions in turn, one thread, on {where()}. All but the "
            "last are Table 6's network at the micro tier, one quantity changed at a time.", "",
            "![Seconds against each quantity, both logarithmic](growth.png)", "",
            *as_markdown(curves),
        ]  # fmt: skip
        write_atomically(options.write / "growth.md", "\n".join(page).rstrip() + "\n")
        draw(curves, options.write / "growth.png")
    return arguments.EXIT_OK


def draw(curves: Sequence[Curve], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = -(-len(curves) // 3)
    figure, axes = pyplot.subplots(rows, 3, figsize=(11, 3.2 * rows), layout="constrained")
    for axis, curve in zip(axes.flat, curves, strict=False):
        low = [m - min(e) for m, e in zip(curve.medians, curve.seconds, strict=True)]
        high = [max(e) - m for m, e in zip(curve.medians, curve.seconds, strict=True)]
        axis.errorbar(curve.sizes, curve.medians, yerr=[low, high], marker="o", capsize=3)
        axis.set(xscale="log", yscale="log", xlabel=curve.against, ylabel="seconds")
        axis.set_xticks(curve.sizes, [f"{size:g}" for size in curve.sizes])
        axis.xaxis.set_minor_formatter(NullFormatter())
        # Every tick of a decade labelled is labels on top of each other.
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title(textwrap.fill(curve.what, 44), fontsize=9)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
