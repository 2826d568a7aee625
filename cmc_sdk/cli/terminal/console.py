"""What every command shares in talking to a person or to a program: JSON, progress bars, tables."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cmc_sdk.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["emit_json", "json_option", "json_progress", "progress_bar", "stderr", "stdout"]


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")


def stdout() -> Console:
    """The console for results; plain text when it is not a terminal."""
    from rich.console import Console  # here: a scan is labelled before there is anything to print

    return Console(soft_wrap=True, highlight=False)


def stderr() -> Console:
    """The console for progress and notes."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False)


def emit_json(document: object) -> None:
    """Print one JSON document on standard output; NaN becomes null, since JSON has none."""
    click.echo(json.dumps(_finite(document), indent=2, allow_nan=False, default=str))


@contextlib.contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a callback (stage, done, total) that draws one bar per stage on a terminal and is silent in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from cmc_sdk.cli.terminal.bars import draw_bars

    with draw_bars(stderr()) as update:
        yield update


@contextlib.contextmanager
def json_progress() -> Iterator[Progress]:
    """Yield a callback (stage, done, total) that prints one JSON object a line on standard error."""
    began: dict[str, tuple[float, int]] = {}

    def update(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        since, first = began.setdefault(stage, (now, done))
        rate = (done - first) / (now - since) if now > since and done > first else None
        line = {
            "stage": stage,
            "done": done,
            "total": total,
            "per_second": None if rate is None else round(rate, 4),
            "seconds_left": None if rate is None else round((total - done) / rate, 2),
        }
        click.echo(json.dumps(line), err=True)

    yield update


def _finite(value: object) -> object:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
