"""Memory that a training frees is kept for its next iteration, not given back to the system."""

import ctypes
from functools import cache

# glibc's names for its settings, from its <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1
# An older glibc takes no more than half of the largest heap.
THRESHOLDS = (1 << 30, 32 << 20)


@cache
def keep_memory() -> bool:
    """Have this process keep what it frees, where the C library is glibc; whether it does.

    Every iteration allocates the same tensors. By glibc's own settings the larger of them come from
    the system each time, which clears every page, most slowly where two processes ask at once
    (benchmarks/speed/pieces.py). The process stays as large as it ever was; no result depends on
    any of it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mapped = any(mallopt(M_MMAP_THRESHOLD, threshold) for threshold in THRESHOLDS)
    return mapped and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
