"""How far a long job is: a bar on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import Literal, Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_SECONDS = 30.0
Unit = Literal["bytes", "files"]


class Meter:
    """A context manager; `to(done)` says how far it is, `of(total)` what there is to do."""

    def __init__(
        self, console: Console, label: str, total: int | None = None, unit: Unit = "files"
    ) -> None:
        self.console, self.label, self.total, self.unit = console, label, total, unit
        self.last_line = time.monotonic()
        counted: list[ProgressColumn] = (
            [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
        )
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            *counted,
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(label, total=total)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def of(self, total: int | None) -> None:
        """The total, where it becomes known later."""
        self.total = total
        self.bar.update(self.task, total=total)

    def to(self, done: int) -> None:
        """`done` bytes or files of the total are done."""
        self.bar.update(self.task, completed=done)
        now = time.monotonic()
        if self.console.is_terminal or now - self.last_line < LINE_SECONDS:
            return
        self.last_line = now
        shown = decimal if self.unit == "bytes" else "{:,}".format
        total = f" of {shown(self.total)}" if self.total else ""
        self.console.print(f"{self.label}: {shown(done)}{total}", markup=False, highlight=False)
