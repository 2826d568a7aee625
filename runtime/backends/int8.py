"""OpenVINO in int8, for the windows that the int8 graphs were calibrated on, and in f32 for all others."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.runtime.backends.base import Array, DecoderInputs
from cmc_sdk.runtime.backends.openvino import OpenVinoBackend

__all__ = ["Int8Backend"]


class Int8Backend(OpenVinoBackend):
    """Runs a bundle's int8 graphs, and its f32 graphs on windows outside of those that int8 was calibrated on.

    Eight bits end at the largest value that they were calibrated on: a window beyond, or one that is nearly even, would
    get labels that no calibration has looked at. Both kinds of graph are ready from the start.

    Raises:
        BackendError: As `OpenVinoBackend`.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None, reason: str | None = None) -> None:
        super().__init__(bundle, precision="int8", threads=threads, reason=reason)
        self._ranges = {
            graph.modality: graph.calibrated
            for graph in bundle.manifest.graphs
            if graph.precision == "int8-openvino" and graph.calibrated is not None
        }
        self._exact = OpenVinoBackend(bundle, threads=threads)
        self._counting = threading.Lock()
        self._exact_windows = 0

    @property
    def exact_windows(self) -> int:
        """As `Backend.exact_windows`."""
        return self._exact_windows

    def set_streams(self, count: int) -> None:
        """As `Backend.set_streams`."""
        super().set_streams(count)
        self._exact.set_streams(count)

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:
        """As `Backend.prepare`; both kinds, for memory and time are planned with what is ready now."""
        super().prepare(modalities, batch=batch)
        if self._ranges:
            self._exact.prepare(modalities, batch=batch)

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As `Backend.encode`."""
        inside = self._inside(modality, window)
        if inside.all():
            return super().encode(modality, window)
        with self._counting:
            self._exact_windows += int(np.count_nonzero(~inside))
        found = self._exact.encode(modality, window[~inside])
        if inside.any():
            found = _merge(inside, super().encode(modality, window[inside]), found)
        return found

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As `Backend.decode`."""
        inside = self._inside(modality, inputs.window)
        if inside.all():
            return super().decode(modality, inputs)
        logits = self._exact.decode(modality, inputs.rows(~inside))
        if inside.any():
            rest = super().decode(modality, inputs.rows(inside))
            logits = _merge(inside, {"logits": rest}, {"logits": logits})["logits"]
        return logits

    def _inside(self, modality: str, window: Array) -> npt.NDArray[np.bool_]:
        """Which windows of a batch int8 is for."""
        known = self._ranges.get(modality)
        if known is None:
            return np.ones(len(window), np.bool_)
        axes = tuple(range(1, window.ndim))
        inside: npt.NDArray[np.bool_] = (
            (window.min(axis=axes) >= known.lowest)
            & (window.max(axis=axes) <= known.highest)
            & (window.std(axis=axes) >= known.least_deviation)
        )
        return inside


def _merge(inside: npt.NDArray[np.bool_], these: Mapping[str, Array], others: Mapping[str, Array]) -> dict[str, Array]:
    """One batch of the outputs for the windows inside and those for the others."""
    merged = {}
    for name, array in these.items():
        merged[name] = np.empty((len(inside), *array.shape[1:]), np.float32)
        merged[name][inside] = array
        merged[name][~inside] = others[name]
    return merged
