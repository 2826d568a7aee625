"""How many threads the core works on."""

from __future__ import annotations

import os

from cmc_sdk.runtime.core._native import Threads

__all__ = ["Threads", "usable_threads"]


def usable_threads() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
