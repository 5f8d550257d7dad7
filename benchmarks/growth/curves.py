"""Measured points of one quantity against another, and the power of it that they follow."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Run = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Seconds at each of several sizes: medians, and the range of the repetitions."""

    what: str
    against: str
    sizes: tuple[float, ...]
    seconds: tuple[tuple[float, ...], ...]
    # Whether time may follow a power of the size.
    fitted: bool = True
    note: str = ""

    @property
    def medians(self) -> tuple[float, ...]:
        return tuple(statistics.median(one) for one in self.seconds)

    @property
    def exponent(self) -> float | None:
        """The slope of log seconds over log size, by least squares."""
        return slope(self.sizes, self.medians) if self.fitted else None

    @property
    def last_exponent(self) -> float | None:
        """The same between the last two sizes: where it goes."""
        return slope(self.sizes[-2:], self.medians[-2:]) if self.fitted else None


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    xs, ys = [math.log(size) for size in sizes], [math.log(one) for one in seconds]
    return statistics.linear_regression(xs, ys).slope


def measured(
    runs: Mapping[float, Run], repetitions: int
) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Every size once for warming up, then all sizes in turn, so that a slow spell meets all."""
    found: dict[float, list[float]] = {size: [] for size in runs}
    for repetition in range(repetitions + 1):
        for size, run in runs.items():
            started = time.perf_counter()
            run()
            if repetition:
                found[size].append(time.perf_counter() - started)
    return tuple(found), tuple(tuple(one) for one in found.values())


def as_markdown(curves: Sequence[Curve]) -> Iterator[str]:
    for curve in curves:
        yield f"### {curve.what}"
        yield ""
        yield f"| {curve.against} | seconds | range |"
        yield "|--:|--:|:-:|"
        for size, median, every in zip(curve.sizes, curve.medians, curve.seconds, strict=True):
            yield f"| {size:g} | {median:.3g} | {min(every):.3g} to {max(every):.3g} |"
        yield ""
        if curve.exponent is not None:
            yield (
                f"Exponent {curve.exponent:.2f} over all sizes, {curve.last_exponent:.2f} between "
                "the last two."
            )
        if curve.note:
            yield curve.note
        yield ""
