"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total) as work goes on; `done` of `total` items of `stage` are finished."""
