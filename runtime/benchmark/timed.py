"""A backend that notes how long each call of another takes, in every stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from cmc_sdk.runtime.backends.base import Array, Backend, PreparingBackend, StreamingBackend

__all__ = ["TimedBackend"]


class TimedBackend:
    """Answers as `backend`, streams included, and notes the seconds of each call."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name = backend.name
        self.precision = backend.precision
        self.modalities = backend.modalities
        self._lock = threading.Lock()
        self.seconds: dict[str, list[float]] = {}
        self._streams: dict[int, list[float]] = {}

    @property
    def best_streams(self) -> int:
        """The wrapped backend's; 1 if it has no streams."""
        return self._backend.best_streams if isinstance(self._backend, StreamingBackend) else 1

    def set_streams(self, count: int) -> None:
        """As `StreamingBackend.set_streams`."""
        if isinstance(self._backend, StreamingBackend):
            self._backend.set_streams(count)

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:
        """As `PreparingBackend.prepare`."""
        if isinstance(self._backend, PreparingBackend):
            self._backend.prepare(modalities, batch=batch)

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As the wrapped backend."""
        start = time.perf_counter()
        encoded = self._backend.encode(modality, window)
        self._note(f"encoder_{modality}", start)
        return encoded

    def decode(
        self,
        modality: str,
        *,
        features: Mapping[str, Array],
        presence: Array,
        encoded: Mapping[str, Array],
        window: Array,
    ) -> Array:
        """As the wrapped backend."""
        start = time.perf_counter()
        logits = self._backend.decode(modality, features=features, presence=presence, encoded=encoded, window=window)
        self._note(f"decoder_{modality}", start)
        return logits

    def windows(self) -> list[float]:
        """Seconds of each window so far: a stream calls every graph once a window, one window after another."""
        graphs = len(self.seconds)
        return [
            sum(calls[first : first + graphs])
            for calls in self._streams.values()
            for first in range(0, len(calls), graphs)
        ]

    def forget(self) -> None:
        """Start anew."""
        self.seconds, self._streams = {}, {}

    def _note(self, graph: str, start: float) -> None:
        seconds = time.perf_counter() - start
        with self._lock:
            self.seconds.setdefault(graph, []).append(seconds)
            self._streams.setdefault(threading.get_ident(), []).append(seconds)
