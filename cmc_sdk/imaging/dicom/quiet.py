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
    before = [item.disabled for item in loggers]
    for item in loggers:
        item.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for item, disabled in zip(loggers, before, strict=True):
            item.disabled = disabled
