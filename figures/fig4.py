"""Figure 4: normalised counts of valid weights of a 3x3 filter as the atrous rate grows.

    python -m figures.fig4 --out results/figures

Writes fig4.png, fig4.svg and fig4.csv. The closed form is checked against a counted convolution
at every rate, and nothing is written unless they agree. Takes a few seconds.
"""

import argparse
import csv
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from replication.arguments import Parser
from replication.errors import ReplicationError
from replication.files import write_atomically
from replication.network import valid_weights
from replication.network.valid_weights import VALID_WEIGHTS

# Beyond these the count by convolution takes minutes, and no feature map is that large.
LARGEST_SIZE = 513
LARGEST_RATE = 1000

# The curves that the paper draws, told apart without colour: line, marker, grey.
CURVES = {
    1: ("1 valid weight", "solid", "o", "#b2182b"),
    4: ("4 valid weights", "dashed", "s", "#2166ac"),
    9: ("9 valid weights", "dashdot", "^", "#1a1a1a"),
}

Fractions = dict[int, dict[int, float]]


def table(size: int, max_rate: int) -> Fractions:
    """Fractions of positions by rate and number of valid weights.

    Raises ReplicationError if the closed form and the convolution disagree anywhere.
    """
    fractions: Fractions = {}
    for rate in range(1, max_rate + 1):
        expected = valid_weights.closed_form(size, rate)
        counted = valid_weights.by_convolution(size, rate)
        if counted != expected:
            raise ReplicationError(
                f"rate {rate} on a {size}x{size} map: the closed form gives {expected}, "
                f"the convolution {counted}; nothing written"
            )
        fractions[rate] = valid_weights.normalised(counted)
    return fractions


def to_csv(fractions: Fractions) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rate", *(f"valid_{weights}" for weights in VALID_WEIGHTS)])
    for rate, row in fractions.items():
        writer.writerow([rate, *(f"{row[weights]:.6f}" for weights in VALID_WEIGHTS)])
    return text.getvalue().encode()


def draw(fractions: Fractions) -> dict[str, bytes]:
    """The figure as PNG and SVG; the same bytes on every call."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "fig4", "svg.fonttype": "none", "font.size": 11}):
        figure, axes = pyplot.subplots(figsize=(6.0, 4.0), dpi=100, layout="constrained")
        rates = list(fractions)
        for weights, (label, line, marker, colour) in CURVES.items():
            axes.plot(
                rates,
                [fractions[rate][weights] for rate in rates],
                label=label,
                linestyle=line,
                marker=marker,
                markevery=max(1, len(rates) // 12),
                markersize=5,
                color=colour,
                linewidth=1.8,
            )
        axes.set_xlabel("atrous rate")
        axes.set_ylabel("Normalized count")
        axes.set_xlim(0, max(rates))
        axes.set_ylim(-0.02, 1.02)
        axes.set_yticks([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        axes.grid(linewidth=0.4, color="#cccccc")
        axes.legend(loc="center right", framealpha=1.0)
        files = {}
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, metadata=metadata)
            files[f"fig4.{kind}"] = stream.getvalue()
        pyplot.close(figure)
    return files


def drawn(folder: Path, size: int = 65, max_rate: int = 100) -> bool:
    """Whether the figure is there, with the numbers that the closed form gives today."""
    files = [folder / f"fig4.{kind}" for kind in ("png", "svg", "csv")]
    if not all(file.is_file() for file in files):
        return False
    rates = range(1, max_rate + 1)
    fractions = {
        rate: valid_weights.normalised(valid_weights.closed_form(size, rate)) for rate in rates
    }
    return files[-1].read_bytes() == to_csv(fractions)


def write(folder: Path, size: int = 65, max_rate: int = 100) -> list[Path]:
    """Write the figure and its numbers; returns the files' paths."""
    fractions = table(size, max_rate)
    files = {**draw(fractions), "fig4.csv": to_csv(fractions)}
    return [write_atomically(folder / name, content) for name, content in files.items()]


def _whole_number(largest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= largest:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from 1 to {largest}, not {text!r}"
            )
        return int(text)

    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="fig4", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--size", type=_whole_number(LARGEST_SIZE), default=65, help="side of the feature map (65)"
    )
    parser.add_argument(
        "--max-rate",
        type=_whole_number(LARGEST_RATE),
        default=100,
        help="largest atrous rate (100)",
    )
    options = parser.parse_args(arguments)
    try:
        paths = write(options.out, options.size, options.max_rate)
    except ReplicationError as error:
        print(f"fig4: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
