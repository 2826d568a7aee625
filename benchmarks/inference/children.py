"""Running a side in a process of its own, and what the system says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import click

__all__ = ["run_child", "run_module"]


def run_module(name: str, *arguments: str, threads: int) -> dict[str, Any]:
    """`run_child` of a module of this benchmark."""
    return run_child(f"benchmarks.inference.{name}", *arguments, threads=threads)


def run_child(module: str, *arguments: str, threads: int) -> dict[str, Any]:
    """Run a module to its end.

    The largest resident set of a child starts at that of the process that started it, so this process stays small:
    scans and networks are made, and labels compared, in children.

    Returns:
        `wall_seconds` and `peak_rss_bytes`, and the figures of its last line of output if that is JSON.

    Raises:
        ClickException: It failed.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | {name: str(threads) for name in names}
    command = [sys.executable, "-m", module, *arguments]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    lines = child.stdout.read().strip().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise click.ClickException(f"{' '.join(command)} ended with exit code {child.returncode}")
    figures: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    return {**figures, "wall_seconds": seconds, "peak_rss_bytes": peak}
