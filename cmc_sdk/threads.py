"""How many threads this process has processors for."""

from __future__ import annotations

import os

__all__ = ["usable_threads"]


def usable_threads() -> int:
    """Processors that this process may use: those it is bound to, where the system says so, else all; at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
