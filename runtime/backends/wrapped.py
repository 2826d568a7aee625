"""Backends around another backend: a wrapper overrides what it watches, and everything else is the inner one's."""

from __future__ import annotations

from collections.abc import Sequence

from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs

__all__ = ["SerialBackend", "WrappedBackend"]


class WrappedBackend(Backend):
    """Passes everything that a backend offers on to `inner`.

    Args:
        inner: Who computes. Name, precision, modalities and reason are taken from it once.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.name, self.precision, self.modalities = inner.name, inner.precision, inner.modalities
        self.reason = inner.reason

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As `inner`."""
        return self.inner.encode(modality, window)

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As `inner`."""
        return self.inner.decode(modality, inputs)

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:
        """As `inner`."""
        self.inner.prepare(modalities, batch=batch)

    @property
    def best_streams(self) -> int:
        """As `inner`."""
        return self.inner.best_streams

    def set_streams(self, count: int) -> None:
        """As `inner`."""
        self.inner.set_streams(count)

    @property
    def exact_windows(self) -> int:
        """As `inner`."""
        return self.inner.exact_windows

    @property
    def read_seconds(self) -> float:
        """As `inner`."""
        return self.inner.read_seconds

    def graph_content(self, part: str, modality: str) -> bytes | None:
        """As `inner`."""
        return self.inner.graph_content(part, modality)


class SerialBackend(WrappedBackend):
    """A wrapper that keeps notes which only one thread may write: it is called once at a time.

    The inner backend stays ready for as many calls at once as it was: to compile it again would take time, and another
    number of threads may round otherwise.
    """

    @property
    def best_streams(self) -> int:
        """One, whatever the inner backend is fastest with."""
        return 1

    def set_streams(self, count: int) -> None:
        """Nothing: see above."""
