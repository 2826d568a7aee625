"""Keeps pydicom's warnings to itself: they print the values that they are about."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

__all__ = ["quiet_pydicom"]


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Let pydicom and highdicom neither warn nor log inside the block: a value that breaks a rule may be a name."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    # One for each block, so that the blocks of two threads may overlap.
    nothing = _Nothing()
    for logger in loggers:
        logger.addFilter(nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(nothing)


class _Nothing(logging.Filter):
    """Lets no record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False
