"""What was measured on, and the speed of its memory."""

import time
from collections.abc import Callable
from typing import Any

from replication.environment import describe

# A peak is the best of many: on a virtual machine the median of few is another one every time.
PEAK_REPETITIONS = 60
SAID = ("processor", "cores", "threads", "python", "torch", "torchvision", "commit", "clean")


def here() -> dict[str, Any]:
    """The processor, the versions and the commit, for a file."""
    found = describe("cpu")
    return {name: found[name] for name in SAID}


def where() -> str:
    """The same in a few words, for a page."""
    found = here()
    text = f"{found['processor']} with {found['cores']} cores, torch {found['torch']}"
    if found["commit"] is not None:
        changes = "" if found["clean"] else " with uncommitted changes"
        text += f", commit {found['commit'][:12]}{changes}"
    return text


def copies(count: int = 1 << 26) -> float:
    """Bytes a second, read and written both counted, far beyond the caches."""
    import torch

    a, b = torch.zeros(count), torch.zeros(count)
    return 2 * 4 * count / min(every(lambda: b.copy_(a), PEAK_REPETITIONS))


def every(run: Callable[[], object], repetitions: int) -> list[float]:
    """Seconds of each repetition, after one to warm up."""
    run()
    taken = []
    for _ in range(repetitions):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return taken
