"""Progress bars on a terminal; nothing imports this where there is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich import progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from cmc_sdk.progress import Progress

__all__ = ["draw_bars"]


@contextlib.contextmanager
def draw_bars(console: Console) -> Iterator[Progress]:
    """Yield a callback (stage, done, total) that draws one bar per stage."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield update


class _RateColumn(ProgressColumn):
    """Steps a second, or seconds a step where one takes longer."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")
