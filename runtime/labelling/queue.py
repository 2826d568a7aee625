"""Windows in flight: several batches at once where the backend can, their logits handed over in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.labelling.runner import WindowRunner

__all__ = ["Finished", "Start", "WindowQueue"]

Start = tuple[int, int, int]
Finished = tuple[Start, dict[str, Array]]
"""A window's first voxel and its logits (K, X, Y, Z) by modality."""


@dataclass(frozen=True)
class _Batch:
    starts: tuple[Start, ...]
    logits: Future[dict[str, Array]]
    repeats: bool  # the result of a batch before it


class WindowQueue:
    """Runs batches of windows and gives their logits back in the order in which they came.

    A new batch takes the place of a finished one before the finished one's logits are used, so that no stream idles
    meanwhile. With one stream each batch is run where it is given, without a thread. Left by an exception, what has
    begun is run to its end and thrown away.

    Args:
        runner: Runs one batch; with several streams from as many threads.
        streams: Batches that run at once.
    """

    def __init__(self, runner: WindowRunner, *, streams: int) -> None:
        self._runner, self._streams = runner, streams
        self._pool = ThreadPoolExecutor(streams, thread_name_prefix="cmc-window") if streams > 1 else None
        self._pending: deque[_Batch] = deque()
        self._running = 0  # pending batches that are no repeats
        self._constant: tuple[tuple[float, ...], Future[dict[str, Array]]] | None = None

    def __enter__(self) -> WindowQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, starts: Sequence[Start], windows: Sequence[Mapping[str, Array]]) -> list[Finished]:
        """Give a batch; returns what is finished and next in order, possibly nothing."""
        ready = self._make_room()
        self._start(tuple(starts), windows)
        return ready + self._pop_done()

    def put_constant(
        self, start: Start, window: Mapping[str, Array], *, values: tuple[float, ...]
    ) -> tuple[bool, list[Finished]]:
        """Give a window that is one constant value in every modality; as the one before it, it is not run again.

        Returns:
            Whether a former result is used, and what is finished and next in order.
        """
        if self._constant is not None and self._constant[0] == values:
            self._pending.append(_Batch((start,), self._constant[1], repeats=True))
            return True, self._pop_done()
        ready = self._make_room()
        future = self._start((start,), [window])
        self._constant = (values, future)
        return False, ready + self._pop_done()

    def drain(self) -> Iterator[Finished]:
        """All that is left, in order."""
        while self._pending:
            yield from self._pop()

    def _pop_done(self) -> list[Finished]:
        ready = []
        while self._pending and self._pending[0].logits.done():
            ready += self._pop()
        return ready

    def _pop(self) -> list[Finished]:
        batch = self._pending.popleft()
        self._running -= not batch.repeats
        logits = batch.logits.result()
        return [
            (start, {name: values[index] for name, values in logits.items()})
            for index, start in enumerate(batch.starts)
        ]

    def _make_room(self) -> list[Finished]:
        ready = []
        while self._running >= self._streams:
            ready += self._pop()
        return ready

    def _start(self, starts: tuple[Start, ...], windows: Sequence[Mapping[str, Array]]) -> Future[dict[str, Array]]:
        if self._pool is not None:
            future = self._pool.submit(self._runner.run, windows)
        else:
            future = Future()
            future.set_result(self._runner.run(windows))
        self._pending.append(_Batch(starts, future, repeats=False))
        self._running += 1
        return future
