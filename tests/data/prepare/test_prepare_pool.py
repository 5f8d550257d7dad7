"""One function over many files in several processes, shown by a meter."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from replication.data.prepare.pool import work_through
from replication.errors import DataError

ROOT = Path(__file__).resolve().parents[3]


def square(number):
    return number * number, os.getpid()


def refuse_seventy(number):
    if number == 70:
        raise DataError("70 cannot be")
    return number


@pytest.mark.parametrize(("many", "here"), [(10, True), (200, False)])
def test_results_come_in_order(many, here):
    results = list(work_through(square, range(many), "squares", Console(quiet=True)))
    assert [value for value, _ in results] == [n * n for n in range(many)]
    assert ({pid for _, pid in results} == {os.getpid()}) is here


@pytest.mark.parametrize("numbers", [range(20, 80), range(100)])
def test_an_error_ends_the_whole(numbers):
    with pytest.raises(DataError, match="70 cannot be"):
        list(work_through(refuse_seventy, numbers, "numbers", Console(quiet=True)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look at processes")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from rich.console import Console\n"
        "from replication.data.prepare.pool import work_through\n"
        "def sleep(i):\n"
        f"    open(f'{tmp_path}/{{os.getpid()}}.pid', 'w').close()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(work_through(sleep, range(100), 'sleep', Console(quiet=True)))\n"
    )
    parent = subprocess.Popen([sys.executable, program], stderr=subprocess.DEVNULL)
    try:
        workers = eventually(lambda: [int(path.stem) for path in tmp_path.glob("*.pid")])
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    eventually(lambda: not any(alive(worker) for worker in workers))


def alive(pid):
    try:
        # A process that nobody has waited for is still listed, as a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "did not come to pass"
        time.sleep(0.05)
    return result
