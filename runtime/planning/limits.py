"""What the caller allows a run: memory, time, and the word to stop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cmc_sdk.errors import DeadlineError, InputError, InterruptError

__all__ = ["Limits", "RunClock", "parse_bytes", "parse_seconds"]

Amount = str | int | float
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Args:
        max_mem_bytes: Largest resident memory of the whole process; None: no limit.
        deadline_s: Seconds from the start of `infer`, reading included, to finished labels; None: no limit.
    """

    max_mem_bytes: int | None = None
    deadline_s: float | None = None

    def __bool__(self) -> bool:
        return self.max_mem_bytes is not None or self.deadline_s is not None


@dataclass
class RunClock:
    """Ends a run that has reached its deadline, or whose caller wants no more of it.

    Args:
        limits: The deadline.
        cancel: Asked at every window: True ends the run.
    """

    limits: Limits
    cancel: Callable[[], bool] | None = None
    started: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Return where the run may go on.

        Raises:
            DeadlineError: The deadline has passed.
            InterruptError: The caller cancelled.
        """
        if self.cancel is not None and self.cancel():
            raise InterruptError("cancelled by the caller; nothing was written")
        elapsed, deadline = time.monotonic() - self.started, self.limits.deadline_s
        if deadline is not None and elapsed > deadline:
            raise DeadlineError(
                f"the deadline of {deadline:g} s passed after {elapsed:.1f} s; the run was ended, nothing was written",
                mend="give a later --deadline or a faster machine; `cmc infer --plan` shows what a run takes",
            )


def parse_bytes(amount: Amount) -> int:
    """Bytes from a number or from words like `4GB`, `512 MiB`.

    Raises:
        InputError: It is no positive amount of memory.
    """
    return int(_parse(amount, {key.lower(): float(value) for key, value in _BYTES.items()}, what="memory", like="4GB"))


def parse_seconds(amount: Amount) -> float:
    """Seconds from a number or from words like `30s`, `2min`.

    Raises:
        InputError: It is no positive time.
    """
    return _parse(amount, _SECONDS, what="time", like="30s")


def _parse(amount: Amount, units: dict[str, float], *, what: str, like: str) -> float:
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*", str(amount))
    value = float(match[1]) * units.get(match[2].lower(), 0.0) if match else 0.0
    if not 0.0 < value < 1e18:
        raise InputError(
            f"{amount!r} is no amount of {what}",
            mend=f"give a positive number with a unit like {like} ({', '.join(unit for unit in units if unit)})",
        )
    return value
