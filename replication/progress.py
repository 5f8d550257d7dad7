"""What a run shows while it goes on: bars on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from replication.forecast.shown import amount
from replication.plan import Plan
from replication.time_left import TimeLeft
from replication.workers import Job

LINE_SECONDS = 30.0


class _Remaining(TimeRemainingColumn):
    """Of a job by its own pace, of all of them as `TimeLeft` says."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return super().render(task) if left is None else Text(left, style="progress.remaining")


class RunDisplay:
    """Progress of the whole plan and of each job under way, with loss, speed and time left."""

    def __init__(self, plan: Plan, done: int, console: Console, left: TimeLeft) -> None:
        self.plan = plan
        self.left = left
        self.console = console
        self.live = console.is_terminal
        self.total = len(plan.steps)
        self.done = done
        self.last_line = time.monotonic()
        # Another process is at these; asked for again every second, told once.
        self.elsewhere: set[Job] = set()
        self.tasks: dict[Job, TaskID] = {}
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[facts]}"),
            _Remaining(),
            console=console,
            disable=not self.live,
        )
        self.whole: TaskID | None = None

    def __enter__(self) -> Self:
        self.bars.start()
        self.whole = self.bars.add_task(
            f"all {self.total} steps", total=max(self.left.total, 1e-9), facts="", left=""
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
        self.left.started(job)
        self.tasks[job] = self.bars.add_task(self._name(job), total=1.0, facts="")
        if not self.live and job not in self.elsewhere:
            self._line(f"start  {self._name(job)}")

    def advanced(self, job: Job, done: int, total: int, facts: Mapping[str, float]) -> None:
        self.left.advanced(job, done / total)
        text = "  ".join(f"{name} {value:.4g}" for name, value in facts.items())
        self.bars.update(self.tasks[job], completed=done / total, facts=text)
        self._whole()
        if not self.live and time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            self._line(f"       {self._name(job)}: {done}/{total}  {text}  {self._left()}")

    def ended(self, job: Job, problem: str | None) -> None:
        self._drop(job)
        self.left.ended(job, failed=problem is not None)
        self.done += len(job)
        self._whole()
        if problem:
            self.console.print(f"[red]failed[/red] {self._name(job)}: {problem}", highlight=False)
        elif not self.live:
            self._line(f"done   {self._name(job)}  {self._left()}")

    def waiting(self, job: Job) -> None:
        """Another process is at this job."""
        self._drop(job)
        self.left.put_back(job)
        if job not in self.elsewhere:
            self.elsewhere.add(job)
            self._line(f"wait   {self._name(job)}: another process runs it")

    def _drop(self, job: Job) -> None:
        task = self.tasks.pop(job, None)
        if task is not None:
            self.bars.remove_task(task)

    def _whole(self) -> None:
        if self.live and self.whole is not None:
            self.bars.update(
                self.whole,
                total=max(self.left.total, 1e-9),
                completed=self.left.progress,
                facts=f"{self.done}/{self.total} steps",
                left=self._time(),
            )

    def _left(self) -> str:
        time_left = self._time()
        return f"[{self.done}/{self.total} steps, {time_left} left]" if time_left else ""

    def _time(self) -> str:
        seconds = self.left.seconds()
        return "" if seconds is None else f"about {amount(seconds)}"

    def _name(self, job: Job) -> str:
        label = self.plan.labels[job[0].id]
        return f"{label} (+{len(job) - 1} strategies)" if len(job) > 1 else label

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        sys.stdout.flush()
