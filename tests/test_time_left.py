"""The time that a run has left, by a clock that is set by hand."""

import pytest

from replication.runs import Step
from replication.time_left import TimeLeft


def step(name, parent=None):
    return Step(kind="train", config={"name": name}, parent=parent and parent.id)


FIRST = step("first")
ROWS = [step(f"row {row}", FIRST) for row in range(4)]
QUEUE = [(FIRST,), *((row,) for row in ROWS)]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def begun(clock, *, workers=2, costs=(100.0, 50.0, 50.0, 50.0, 50.0), **more):
    return TimeLeft(dict(zip(QUEUE, costs, strict=True)), workers, clock=clock, **more)


def test_nothing_is_said_before_the_pace_is_known(clock):
    left = begun(clock)
    assert left.seconds() is None
    left.started(QUEUE[0])
    clock.now = 3.0
    assert left.seconds() is None


def test_a_worker_that_is_alone_at_first_is_not_taken_for_all_of_them(clock):
    left = begun(clock)
    left.started(QUEUE[0])
    clock.now = 50.0
    left.advanced(QUEUE[0], 0.5)
    assert left.seconds() == pytest.approx(50 + 4 * 50 / 2)


def test_jobs_that_cannot_share_the_workers_evenly_end_later(clock):
    left = begun(clock, costs=(100.0, 90.0, 10.0, 10.0, 10.0))
    left.started(QUEUE[0])
    clock.now = 100.0
    left.ended(QUEUE[0])
    assert left.seconds() == pytest.approx(90)


def test_the_forecast_is_corrected_by_the_pace(clock):
    left = begun(clock)
    left.started(QUEUE[0])
    clock.now = 150.0
    left.ended(QUEUE[0])
    for job in QUEUE[1:3]:
        left.started(job)
    clock.now = 225.0
    for job in QUEUE[1:3]:
        left.advanced(job, 1.0)
    assert left.seconds() == pytest.approx(75)


def test_what_was_done_before_is_not_done_again(clock):
    left = begun(clock, workers=1, costs=(25.0, 0.0, 0.0, 0.0, 0.0), done_before={QUEUE[0]: 0.75})
    left.started(QUEUE[0])
    left.advanced(QUEUE[0], 0.75)
    assert left.progress == 0
    clock.now = 10.0
    left.advanced(QUEUE[0], 0.85)
    assert left.progress == pytest.approx(10) and left.seconds() == pytest.approx(15)


def test_a_job_of_which_nothing_is_left_ends(clock):
    left = begun(clock, costs=(0.0, 50.0, 50.0, 50.0, 50.0), done_before={QUEUE[0]: 1.0})
    left.started(QUEUE[0])
    left.advanced(QUEUE[0], 1.0)
    left.ended(QUEUE[0])
    assert left.progress == 0


def test_what_needs_a_failed_job_is_not_waited_for(clock):
    left = begun(clock)
    left.started(QUEUE[0])
    clock.now = 40.0
    left.advanced(QUEUE[0], 0.4)
    left.ended(QUEUE[0], failed=True)
    assert left.total == left.progress == pytest.approx(40)
    assert left.seconds() == 0


def test_a_job_that_another_process_is_at_is_still_to_come(clock):
    left = begun(clock, workers=1)
    left.started(QUEUE[0])
    clock.now = 100.0
    left.ended(QUEUE[0])
    left.started(QUEUE[1])
    left.put_back(QUEUE[1])
    assert left.seconds() == pytest.approx(200)


def test_a_job_that_was_not_foreseen_costs_nothing(clock):
    left = begun(clock)
    other = (step("another"),)
    left.started(other)
    left.advanced(other, 0.5)
    left.ended(other)
    assert left.progress == 0
