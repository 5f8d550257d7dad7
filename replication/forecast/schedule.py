"""How long the unfinished part of a plan takes on several workers: `workers.run`, simulated."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from replication.plan import Plan
from replication.runs import Step
from replication.workers import Job, jobs

NUMBERS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class Makespan:
    """The plan on some workers or devices: seconds until the last step ends."""

    workers: int
    seconds: float
    # Of all workers together, at work.
    busy: float

    @property
    def use(self) -> float:
        """The share of the workers' time that is spent at work."""
        return self.busy / (self.workers * self.seconds) if self.seconds else 1.0


def unfinished(plan: Plan, states: Mapping[str, str]) -> list[Job]:
    """The jobs of the plan's missing and partial steps, in the order in which they are taken.

    What depends on a failed step is not run.
    """
    lost: set[str] = {id_ for id_, state in states.items() if state == "failed"}
    todo: list[Step] = []
    for id_, step in plan.steps.items():  # parents come first
        if step.parent in lost:
            lost.add(id_)
        elif states[id_] in ("missing", "partial"):
            todo.append(step)
    return jobs(plan, todo)


def simulate(
    queue: Sequence[Job], seconds: Callable[[Job], float], workers: int, start: float = 0.0
) -> Makespan:
    """Give the jobs to workers as `workers.run` does.

    The workers, all started at once, are ready after `start` seconds. Every idle one, in turn,
    takes the first job of the queue whose parent is done.
    """
    missing = {step.id for job in queue for step in job}
    children: dict[str, list[int]] = {}
    ready: list[int] = []  # places in the queue, a heap
    for place, job in enumerate(queue):
        parent = job[0].parent
        if parent in missing:
            children.setdefault(str(parent), []).append(place)
        else:
            heapq.heappush(ready, place)
    idle = min(workers, len(queue))
    running: list[tuple[float, int]] = []
    now, busy = start if queue else 0.0, 0.0
    while ready or running:
        while idle and ready:
            place = heapq.heappop(ready)
            length = seconds(queue[place])
            heapq.heappush(running, (now + length, place))
            idle, busy = idle - 1, busy + length
        now = running[0][0]
        while running and running[0][0] == now:  # who ends at once is heard at once
            _, place = heapq.heappop(running)
            idle += 1
            for step in queue[place]:
                for child in children.get(step.id, ()):
                    heapq.heappush(ready, child)
    return Makespan(workers=workers, seconds=now, busy=busy)


def makespans(
    queue: Sequence[Job],
    seconds: Callable[[Job], float],
    chosen: int | None = None,
    start: float = 0.0,
) -> list[Makespan]:
    """For 1, 2, 4 … 64 workers, and for the number that was chosen."""
    numbers = sorted({*NUMBERS, *([chosen] if chosen else [])})
    return [simulate(queue, seconds, number, start) for number in numbers]


def longest_chain(queue: Sequence[Job], seconds: Callable[[Job], float]) -> float:
    """Seconds of the longest chain of jobs: no number of workers is quicker."""
    ends: dict[str, float] = {}
    todo = list(queue)
    while todo:
        later = []
        missing = {step.id for job in todo for step in job}
        for job in todo:
            parent = job[0].parent
            if parent in missing:
                later.append(job)
                continue
            end = ends.get(parent or "", 0.0) + seconds(job)
            ends |= {step.id: end for step in job}
        assert len(later) < len(todo), "a job is its own ancestor"
        todo = later
    return max(ends.values(), default=0.0)
