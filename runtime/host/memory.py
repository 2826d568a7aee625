"""Memory of this process, as the system counts it."""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType

__all__ = ["PeakWatch", "peak_rss_bytes", "rss_bytes"]

_INTERVAL_S = 0.002


def peak_rss_bytes() -> int | None:
    """Largest resident memory of this process so far; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def rss_bytes() -> int | None:
    """Resident memory of this process now; None where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


class PeakWatch:
    """Watches resident memory while a block runs: `with PeakWatch() as watch: ...; watch.peak_bytes`.

    It looks every two milliseconds, so that the system's own mark of the process's peak stays as it is.
    """

    def __init__(self) -> None:
        self.peak_bytes: int | None = rss_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(_INTERVAL_S):
            self._look()

    def _look(self) -> None:
        now = rss_bytes()
        if now is not None and self.peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes, now)
