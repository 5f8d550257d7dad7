"""Memory that is kept: asked of the real C library, in a process of its own."""

import ctypes
import platform
import subprocess
import sys

import pytest

from replication import allocation

# Pages that the system clears while 20 arrays of 8 MB are made and dropped in turn.
COUNTED = """
import resource, sys
import numpy as np
from replication.allocation import keep_memory
assert sys.argv[1] == "own" or keep_memory()
[np.ones(1 << 20) for _ in range(3)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [np.ones(1 << 20) for _ in range(3)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way):
    command = [sys.executable, "-c", COUNTED, way]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_an_iterations_memory_serves_the_next():
    assert faults("kept") < faults("own") / 4


@pytest.mark.parametrize("library", [object(), None])
def test_other_c_libraries_are_left_alone(library, monkeypatch):
    def opened(_):
        if library is None:
            raise OSError("no such library")
        return library

    monkeypatch.setattr(ctypes, "CDLL", opened)
    assert allocation.keep_memory.__wrapped__() is False
