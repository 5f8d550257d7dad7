"""Two processes do the same work at once and in turn; what records say. Nothing is timed."""

import os
import time

import pytest

from benchmarks.speed.alternating import Comparison
from benchmarks.speed.workers import at_once, divided


def noting(folder):
    """A piece of work that notes when its process began and ended it."""

    def run():
        began = time.monotonic()
        time.sleep(0.1)
        with (folder / str(os.getpid())).open("a") as file:
            file.write(f"{began} {time.monotonic()}\n")

    return run


def test_both_processes_do_the_work_at_once_and_in_turn(tmp_path):
    found = at_once(3, "notes", noting, tmp_path)
    assert found.what == "notes in each of 2 processes, at once" and found.theirs_is == "in turn"
    assert len(found.ours) == len(found.theirs) == 3
    one, other = (
        [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
        for file in tmp_path.iterdir()
    )
    assert len(one) == len(other) == 2 * (1 + 3), "once each to warm up"
    overlap = [max(a[0], b[0]) < min(a[1], b[1]) for a, b in zip(one, other, strict=True)]
    # Which way goes first changes.
    assert not any(overlap[i] for i in (1, 3, 4, 7)), "in turn"
    assert any(overlap[i] for i in (0, 2, 5, 6)), "at once"


def test_a_run_is_its_jobs_and_the_rest():
    found = Comparison(what="", theirs_is="", ours=(25.0,) * 3, theirs=(40.0, 35.0, 30.0))
    text = divided(found, [31.0, 30.0, 32.0], [46.5, 46.0, 47.0])
    assert "take 31 s of one worker, and 1.50 times as long beside another's" in text
    assert "two are 1.33 times as quick at most; 4 s more" in text


def test_what_fails_in_one_process_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="No such file"):
        at_once(1, "notes", noting, tmp_path / "none")
