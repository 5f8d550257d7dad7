"""Schedules: the learning rate, and the simulated time of asynchronous training. No torch."""

import math


def poly(initial: float, iteration: int, iterations: int, power: float) -> float:
    """Section 4.1: the initial rate times (1 - iter / max_iter) ** power."""
    return initial * (1.0 - iteration / iterations) ** power


def relative_time(iterations: int, replicas: int) -> float:
    """Simulated time of an asynchronous training relative to one replica's.

    The replicas take turns of equal length and none waits, so `replicas` updates arrive per turn.
    Communication is free, as in Table 11's own column (1/N).
    """
    return math.ceil(iterations / replicas) / iterations
