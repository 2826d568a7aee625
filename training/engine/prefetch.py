"""The next step's batches, made in a background thread while the network works on the present ones."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Prefetcher"]

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """Calls `make(step)` for one step ahead.

    Since `make` is a pure function of the step, being early changes nothing in what it gives. An error in it is
    raised by the `get` of its own step.

    Args:
        make: From a step to what that step needs.
        last: The last step; nothing is made beyond it.
    """

    def __init__(self, make: Callable[[int], Item], *, last: int) -> None:
        self._make = make
        self._last = last
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="windows")
        self._ahead: dict[int, Future[Item]] = {}

    def get(self, step: int) -> Item:
        """What `make(step)` gives, and start on the step after it."""
        future = self._ahead.pop(step, None)
        item = self._make(step) if future is None else future.result()
        if step < self._last:
            self._ahead = {step + 1: self._pool.submit(self._make, step + 1)}
        return item

    def close(self) -> None:
        """Let what is under way end, and drop it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
