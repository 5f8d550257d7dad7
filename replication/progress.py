"""What a run shows while it goes on: bars on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from replication.plan import Plan, work
from replication.workers import Job

LINE_SECONDS = 30.0


class RunDisplay:
    """Progress of the whole plan and of each job under way, with loss, speed and time left."""

    def __init__(
        self,
        plan: Plan,
        done: int,
        console: Console,
        cost: Callable[[Job], float] = lambda job: work(*job),
    ) -> None:
        self.plan = plan
        # A job's work, in any unit: forecast seconds, or those of `plan.work`.
        self.cost = cost
        self.console = console
        self.live = console.is_terminal
        self.total = len(plan.steps)
        self.done = done
        self.started_at = time.monotonic()
        self.last_line = self.started_at
        # In units of `cost`, for the time left of the whole plan.
        self.ended_work = 0.0
        self.remaining_work = 0.0
        self.under_way: dict[Job, float] = {}
        # Another process is at these; asked for again every second, told once.
        self.elsewhere: set[Job] = set()
        self.tasks: dict[Job, TaskID] = {}
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not self.live,
        )
        self.whole: TaskID | None = None

    def expect(self, remaining: float) -> Self:
        """How much work is left, in units of `cost`."""
        self.remaining_work = remaining
        return self

    def __enter__(self) -> Self:
        self.bars.start()
        self.whole = self.bars.add_task(
            f"all {self.total} steps", total=max(self.remaining_work, 1e-9), facts=""
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def started(self, job: Job) -> None:
        self.under_way[job] = 0.0
        self.tasks[job] = self.bars.add_task(self._name(job), total=1.0, facts="")
        if not self.live and job not in self.elsewhere:
            self._line(f"start  {self._name(job)}")

    def advanced(self, job: Job, done: int, total: int, facts: Mapping[str, float]) -> None:
        self.under_way[job] = done / total
        text = "  ".join(f"{name} {value:.4g}" for name, value in facts.items())
        self.bars.update(self.tasks[job], completed=done / total, facts=text)
        self._whole()
        if not self.live and time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            self._line(f"       {self._name(job)}: {done}/{total}  {text}  {self._left()}")

    def ended(self, job: Job, problem: str | None) -> None:
        self._drop(job)
        self.ended_work += self.cost(job)
        self.done += len(job)
        self._whole()
        if problem:
            self.console.print(f"[red]failed[/red] {self._name(job)}: {problem}", highlight=False)
        elif not self.live:
            self._line(f"done   {self._name(job)}  {self._left()}")

    def waiting(self, job: Job) -> None:
        """Another process is at this job."""
        self._drop(job)
        if job not in self.elsewhere:
            self.elsewhere.add(job)
            self._line(f"wait   {self._name(job)}: another process runs it")

    def _drop(self, job: Job) -> None:
        self.under_way.pop(job, None)
        task = self.tasks.pop(job, None)
        if task is not None:
            self.bars.remove_task(task)

    def _progress(self) -> float:
        under_way = (share * self.cost(job) for job, share in self.under_way.items())
        return self.ended_work + sum(under_way)

    def _whole(self) -> None:
        if self.whole is not None:
            self.bars.update(
                self.whole, completed=self._progress(), facts=f"{self.done}/{self.total} steps"
            )

    def _left(self) -> str:
        progress = self._progress()
        if progress <= 0:
            return ""
        seconds = (time.monotonic() - self.started_at) / progress * (self.remaining_work - progress)
        return f"[{self.done}/{self.total} steps, about {max(seconds, 0) / 60:.0f} min left]"

    def _name(self, job: Job) -> str:
        label = self.plan.labels[job[0].id]
        return f"{label} (+{len(job) - 1} strategies)" if len(job) > 1 else label

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        sys.stdout.flush()
