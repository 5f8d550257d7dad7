"""Two cells' difference by class, drawn: bars with intervals over images."""

import io

from replication.bootstrap import Sampling
from replication.comparison import Comparison

# Intervals wholly above zero, wholly below, and those that hold it; apart in grey as well.
COLOURS = {"above": "#2166ac", "below": "#b2182b", "": "#bdbdbd"}
SAID = {"above": "A better", "below": "B better", "": "zero within the interval"}


def draw(found: Comparison) -> bytes:
    """The figure as PNG; the same bytes on every call."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    interval = found.difference.interval
    overall = "above" if interval.low > 0 else "below" if interval.high < 0 else ""
    rows: list[tuple[str, Sampling, str]] = [("mIoU", found.difference, overall)]
    rows += [
        (f"{one.name} ({one.images:,})", one.difference, one.side)
        for one in found.classes
        if one.difference is not None
    ]
    # The mean stands apart from the classes.
    places = [0.0, *(1.6 + index for index in range(len(rows) - 1))]
    with matplotlib.rc_context({"font.size": 10}):
        figure, axes = pyplot.subplots(
            figsize=(7.0, 1.5 + 0.27 * len(rows)), dpi=110, layout="constrained"
        )
        axes.barh(
            places,
            [drawn.value for _, drawn, _ in rows],
            color=[COLOURS[side] for _, _, side in rows],
            height=0.72,
        )
        for place, (_, drawn, _) in zip(places, rows, strict=True):
            axes.plot(
                [drawn.interval.low, drawn.interval.high],
                [place, place],
                color="#1a1a1a",
                linewidth=1.1,
                marker="|",
                markersize=5,
            )
        axes.axvline(0.0, color="#1a1a1a", linewidth=0.8)
        axes.axhline(0.8, color="#cccccc", linewidth=0.8)
        axes.set_yticks(places, [name for name, _, _ in rows])
        axes.set_ylim(places[-1] + 0.7, -0.7)
        axes.set_xlabel("A − B, points of IoU")
        axes.set_title(
            f"A  {found.a.name}\nB  {found.b.name}\n{_seeds(found)}; lines: 95 % over "
            f"{found.images:,} images; in brackets: images that hold the class",
            loc="left",
            fontsize=10,
        )
        axes.grid(axis="x", linewidth=0.4, color="#cccccc")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        shown = [side for side in SAID if any(side == one for _, _, one in rows)]
        figure.legend(
            handles=[Patch(color=COLOURS[side], label=SAID[side]) for side in shown],
            loc="outside lower center",
            ncols=3,
            frameon=False,
        )
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
        pyplot.close(figure)
    return stream.getvalue()


def _seeds(found: Comparison) -> str:
    counts = sorted({len(found.a.values), len(found.b.values)})
    return "single seed" if counts == [1] else f"{' and '.join(map(str, counts))} seeds"
