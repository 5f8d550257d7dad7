"""Work in another process, when it is asked for; what fails there is told here."""

import os

import pytest

from benchmarks.speed.apart import apart


def counting(path):
    """A piece of work that notes its process, each time."""

    def run():
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")

    return run


def failing(message):
    def run():
        raise ValueError(message)

    return run


def dying():
    return lambda: os._exit(7)


def test_each_call_is_one_piece_of_work_in_one_other_process(tmp_path):
    with apart(counting, tmp_path / "a") as run:
        run()
        assert len((tmp_path / "a").read_text().split()) == 1, "done when it returns"
        run()
    first, second = (tmp_path / "a").read_text().split()
    assert first == second != str(os.getpid())


def test_what_fails_there_is_raised_here():
    with apart(failing, "no such thing") as run, pytest.raises(RuntimeError, match="no such thing"):
        run()


def test_a_process_that_dies_is_named():
    with apart(dying) as run, pytest.raises(RuntimeError, match="dying: its process ended, 7"):
        run()
