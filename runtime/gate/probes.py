"""Backends that watch other backends: every graph's outputs are compared and scanned while a whole scan is labelled."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.backends.wrapped import SerialBackend, WrappedBackend

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


class ComparingBackend(SerialBackend):
    """Answers with `reference`; on the first windows, asks the candidates too, with the reference's own inputs.

    So each graph is compared alone: what an encoder gets wrong does not show again in the decoder.

    Args:
        reference: Whose answers are returned.
        candidates: By name.
        max_windows: Windows compared per graph and candidate.
        differences: Gets them, by (candidate, graph, output); what is in it already is counted on.
    """

    def __init__(
        self,
        reference: Backend,
        candidates: Mapping[str, Backend],
        *,
        max_windows: int = 4,
        differences: dict[tuple[str, str, str], OutputDifference] | None = None,
    ) -> None:
        super().__init__(reference)
        self.candidates = candidates
        self.max_windows = max_windows
        self.differences = {} if differences is None else differences

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As the reference."""
        expected = super().encode(modality, window)
        for candidate, backend in self._open(f"encoder_{modality}", "features"):
            given = backend.encode(modality, window)
            for output, array in expected.items():
                self._note(candidate, f"encoder_{modality}", output).add(array, given[output])
        return expected

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As the reference."""
        expected = super().decode(modality, inputs)
        for candidate, backend in self._open(f"decoder_{modality}", "logits"):
            given = backend.decode(modality, inputs)
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


class ScanningBackend(WrappedBackend):
    """Answers with `inner`, as it will be used, streams included, and counts every value that is NaN or infinite.

    Attributes:
        not_finite: Count by (graph, output); only outputs that had any.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.not_finite: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As the wrapped backend."""
        encoded = super().encode(modality, window)
        for output, array in encoded.items():
            self._scan(f"encoder_{modality}", output, array)
        return encoded

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As the wrapped backend."""
        logits = super().decode(modality, inputs)
        self._scan(f"decoder_{modality}", "logits", logits)
        return logits

    def _scan(self, graph: str, output: str, array: Array) -> None:
        count = int(array.size - np.count_nonzero(np.isfinite(array)))
        if count:
            with self._lock:
                self.not_finite[graph, output] = self.not_finite.get((graph, output), 0) + count
