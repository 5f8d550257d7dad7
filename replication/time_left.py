"""How long a run still takes, by its workers' pace so far and by what can run side by side."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from replication.forecast.schedule import simulate
from replication.workers import Job


@dataclass(kw_only=True)
class _UnderWay:
    """A job that a worker is at: since when, and the share of its remainder that is done."""

    since: float
    share: float = 0.0


class TimeLeft:
    """Told of a run's jobs as they go on. `cost` is what is left of each, in any unit.

    One worker that is busy while the others wait for it says nothing of how quick all of them will
    be. Hence the pace is seconds of a worker for a unit of work, and the jobs that are left are
    given to the workers as they will be (`forecast.schedule`).
    """

    def __init__(
        self,
        cost: Mapping[Job, float],
        workers: int,
        *,
        done_before: Mapping[Job, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cost` in the order in which jobs are taken; `done_before`: shares, of jobs gone on with.

        Both count: a job of which 0.75 was done before costs what its last quarter does.
        """
        self.cost = cost
        self.total = sum(cost.values())
        self.workers = workers
        self.done_before = done_before or {}
        self.clock = clock
        self.waiting = list(cost)
        self.under_way: dict[Job, _UnderWay] = {}
        # Of jobs that ended: seconds of a worker, and work.
        self.spent = 0.0
        self.ended_work = 0.0

    def started(self, job: Job) -> None:
        self.under_way[job] = _UnderWay(since=self.clock())
        if job in self.waiting:
            self.waiting.remove(job)

    def advanced(self, job: Job, share: float) -> None:
        """`share` of the whole job is done, what was done before included."""
        before = self.done_before.get(job, 0.0)
        self.under_way[job].share = (share - before) / (1.0 - before) if share > before else 0.0

    def put_back(self, job: Job) -> None:
        """Another process is at this job, which is asked for again."""
        if self.under_way.pop(job, None):
            self.waiting.append(job)

    def ended(self, job: Job, *, failed: bool = False) -> None:
        """What a failed job had left to do, and what needs it, will not be done."""
        begun = self.under_way.pop(job, None) or _UnderWay(since=self.clock())
        self.spent += self.clock() - begun.since
        work = self._cost(job) * (begun.share if failed else 1.0)
        self.ended_work += work
        if failed:
            self.total -= self._cost(job) - work
            self._drop({step.id for step in job})

    @property
    def progress(self) -> float:
        """The work that is done, of `total`."""
        parts = (begun.share * self._cost(job) for job, begun in self.under_way.items())
        return self.ended_work + sum(parts)

    def seconds(self) -> float | None:
        """Until the last job ends; None before anything is known of the pace."""
        now, progress = self.clock(), self.progress
        spent = self.spent + sum(now - begun.since for begun in self.under_way.values())
        if progress <= 0 or spent <= 0:
            return None
        rest = simulate([*self.under_way, *self.waiting], self._rest, self.workers)
        return spent / progress * rest.seconds

    def _cost(self, job: Job) -> float:
        return self.cost.get(job, 0.0)

    def _rest(self, job: Job) -> float:
        begun = self.under_way.get(job)
        return self._cost(job) * (1.0 - begun.share if begun else 1.0)

    def _drop(self, lost: set[str]) -> None:
        for job in [job for job in self.waiting if job[0].parent in lost]:
            self.waiting.remove(job)
            self.total -= self._cost(job)
            self._drop({step.id for step in job})
