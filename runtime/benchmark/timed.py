"""A backend that notes how long each call of another takes, in every stream."""

from __future__ import annotations

import threading
import time

from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.backends.wrapped import WrappedBackend

__all__ = ["TimedBackend"]


class TimedBackend(WrappedBackend):
    """Answers as `inner`, streams included, and notes the seconds of each call."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self.seconds: dict[str, list[float]] = {}
        self._streams: dict[int, list[float]] = {}

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As the wrapped backend."""
        start = time.perf_counter()
        encoded = super().encode(modality, window)
        self._note(f"encoder_{modality}", start)
        return encoded

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As the wrapped backend."""
        start = time.perf_counter()
        logits = super().decode(modality, inputs)
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
