"""Backends that watch other backends: every graph's outputs are compared and scanned while a whole scan is labelled."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cmc_sdk.runtime.backends.base import Array, Backend
from cmc_sdk.runtime.labelling.queue import best_streams, set_streams

__all__ = ["ComparingBackend", "OutputDifference", "ScanningBackend"]


@dataclass
class OutputDifference:
    """How far one output of one graph lies from the reference's, over the windows that were compared.

    Args:
        max_abs: Largest absolute difference.
        range: Largest absolute value of the reference.
        windows: Windows compared.
        not_finite: NaN and infinite values that the candidate gave.
    """

    max_abs: float = 0.0
    range: float = 0.0
    windows: int = 0
    not_finite: int = 0

    def add(self, reference: Array, candidate: Array) -> None:
        """Count one batch of windows."""
        finite = np.isfinite(candidate)
        self.not_finite += int(candidate.size - np.count_nonzero(finite))
        difference = np.abs(np.where(finite, candidate, 0.0) - reference)
        self.max_abs = max(self.max_abs, float(difference.max()))
        self.range = max(self.range, float(np.abs(reference).max()))
        self.windows += len(reference)

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "max_abs": self.max_abs,
            "range": self.range,
            "windows": self.windows,
            "not_finite": self.not_finite,
        }


@dataclass
class ComparingBackend:
    """Answers with `reference`; on the first windows, asks the candidates too, with the reference's own inputs.

    So each graph is compared alone: what an encoder gets wrong does not show again in the decoder.

    Args:
        reference: Whose answers are returned.
        candidates: By name.
        max_windows: Windows compared per graph and candidate.
    """

    reference: Backend
    candidates: Mapping[str, Backend]
    max_windows: int = 4
    differences: dict[tuple[str, str, str], OutputDifference] = field(default_factory=dict)
    """By (candidate, graph, output)."""

    @property
    def name(self) -> str:
        """The reference's."""
        return self.reference.name

    @property
    def precision(self) -> str:
        """The reference's."""
        return self.reference.precision

    @property
    def modalities(self) -> tuple[str, ...]:
        """The reference's."""
        return self.reference.modalities

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As the reference."""
        expected = self.reference.encode(modality, window)
        for candidate, backend in self._open(f"encoder_{modality}", "features"):
            given = backend.encode(modality, window)
            for output, array in expected.items():
                self._note(candidate, f"encoder_{modality}", output).add(array, given[output])
        return expected

    def decode(
        self,
        modality: str,
        *,
        features: Mapping[str, Array],
        presence: Array,
        encoded: Mapping[str, Array],
        window: Array,
    ) -> Array:
        """As the reference."""
        inputs: dict[str, Any] = {"features": features, "presence": presence, "encoded": encoded, "window": window}
        expected = self.reference.decode(modality, **inputs)
        for candidate, backend in self._open(f"decoder_{modality}", "logits"):
            given = backend.decode(modality, **inputs)
            self._note(candidate, f"decoder_{modality}", "logits").add(expected, given)
        return expected

    def is_done(self) -> bool:
        """Whether every graph that was asked about has been compared often enough."""
        notes = self.differences.values()
        return bool(notes) and all(note.windows >= self.max_windows for note in notes)

    def _open(self, graph: str, output: str) -> list[tuple[str, Backend]]:
        """The candidates that have not yet been asked often enough about this graph."""
        return [
            (name, backend)
            for name, backend in self.candidates.items()
            if self._note(name, graph, output).windows < self.max_windows
        ]

    def _note(self, candidate: str, graph: str, output: str) -> OutputDifference:
        return self.differences.setdefault((candidate, graph, output), OutputDifference())


@dataclass
class ScanningBackend:
    """Answers with `backend`, in as many streams, and counts every value that is NaN or infinite."""

    backend: Backend
    not_finite: dict[tuple[str, str], int] = field(default_factory=dict)
    """Count by (graph, output); only outputs that had any."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def name(self) -> str:
        """The wrapped backend's."""
        return self.backend.name

    @property
    def precision(self) -> str:
        """The wrapped backend's."""
        return self.backend.precision

    @property
    def modalities(self) -> tuple[str, ...]:
        """The wrapped backend's."""
        return self.backend.modalities

    @property
    def best_streams(self) -> int:
        """The wrapped backend's: what is measured runs as it will be used."""
        return best_streams(self.backend)

    def set_streams(self, count: int) -> None:
        """As the wrapped backend."""
        set_streams(self.backend, count)

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As the wrapped backend."""
        encoded = self.backend.encode(modality, window)
        for output, array in encoded.items():
            self._scan(f"encoder_{modality}", output, array)
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
        logits = self.backend.decode(modality, features=features, presence=presence, encoded=encoded, window=window)
        self._scan(f"decoder_{modality}", "logits", logits)
        return logits

    def _scan(self, graph: str, output: str, array: Array) -> None:
        count = int(array.size - np.count_nonzero(np.isfinite(array)))
        if count:
            with self._lock:
                self.not_finite[graph, output] = self.not_finite.get((graph, output), 0) + count
