"""One function over many items: in order, in as many processes as are worth it, or here."""

import multiprocessing
import os

import pytest

from replication.data.pool import in_order


def whose(number):
    return number, os.getpid()


def pool_in_here(pipe):
    """Work through items inside a process, and send what came of it."""
    pipe.send(list(in_order(whose, range(20), few=5, processes=2)))


@pytest.mark.parametrize(
    ("many", "processes", "here"), [(5, 2, True), (50, 1, True), (50, 2, False), (50, 0, None)]
)
def test_results_come_in_order_from_here_or_elsewhere(many, processes, here):
    results = list(in_order(whose, range(many), few=5, processes=processes))
    assert [number for number, _ in results] == list(range(many))
    if here is None:  # as many as there are cores
        here = os.cpu_count() == 1
    assert (os.getpid() in {pid for _, pid in results}) is here


def test_when_it_is_closed_no_process_is_left():
    results = in_order(whose, range(1000), few=5, processes=2)
    _, pid = next(results)
    assert multiprocessing.active_children()
    results.close()
    assert multiprocessing.active_children() == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_daemon_works_by_itself():
    """As a run's workers are; a daemon may not start processes."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=pool_in_here, args=(there,), daemon=True)
    process.start()
    there.close()
    results = here.recv()
    process.join()
    assert [number for number, _ in results] == list(range(20))
    assert {pid for _, pid in results} == {process.pid}
