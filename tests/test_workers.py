"""Workers that die: a job is lost with its worker, and nothing is with an idle one."""

import os
import signal

from replication import workers
from replication.run import main


def test_an_idle_worker_that_is_killed_is_replaced(tmp_path, monkeypatch, capsys):
    """Both are idle when the pretraining is done; the next job goes to another process."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    started, killed = [], []
    start, listen = workers._start, workers._listen

    def starting(*given):
        started.append(start(*given))
        return started[-1]

    def listening(worker, *given):
        halted = listen(worker, *given)
        if worker.job is None and not killed:
            for one in started:
                os.kill(one.process.pid, signal.SIGKILL)
                one.process.join()
                killed.append(one.process.pid)
        return halted

    monkeypatch.setattr(workers, "_start", starting)
    monkeypatch.setattr(workers, "_listen", listening)
    where = ["--tier", "smoke", "--results", str(tmp_path / "results"), "--device", "cpu"]
    assert main(["--table", "9", "--workers", "2", *where]) == 0
    assert len(killed) == 2 and len(started) == 4
    assert "0 failed, 0 not run" in capsys.readouterr().out
