"""Voxels that a network leaves open between two classes, where the last bit of a sum decides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.backends.wrapped import SerialBackend
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.scans.prepared import PreparedScan, prepare_scans
from cmc_sdk.runtime.segmenter import Segmenter
from cmc_sdk.threads import usable_threads

__all__ = ["undecided_voxels"]


def undecided_voxels(
    images: Mapping[str, Volume | PreparedScan],
    *,
    spec: ModelSpec,
    reference: Backend,
    margin: float,
    pairing: ScanPairing,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Where another class would win if its logit were `margin` higher, by modality, on the scan's own grid.

    Blending and resampling are weighted means, so a constant added to one class's logits in every window arrives
    unchanged at every voxel: each class is favoured once, and what changes its label is undecided. The network runs
    once; its logits are remembered, so this is for small scans.

    Args:
        images: By modality.
        spec: Of the network.
        reference: The network.
        margin: In logits.
        pairing: How the scans relate.
    """
    scans = prepare_scans(images, spec=spec, threads=Threads(usable_threads()))
    remembered = _Remembering(reference)
    plain = Segmenter(spec, remembered).infer(scans, pairing=pairing).labels
    undecided = {name: np.zeros(label.stored.shape, dtype=bool) for name, label in plain.items()}
    for index in range(spec.classes.num_classes):
        remembered.favoured, remembered.margin = index, margin
        labels = Segmenter(spec, remembered).infer(scans, pairing=pairing).labels
        for name, mask in undecided.items():
            mask |= labels[name].stored != plain[name].stored
    return undecided


class _Remembering(SerialBackend):
    """Answers as `inner`, which is asked once about equal inputs; adds `margin` to the logits of class `favoured`."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._encoded: dict[str, dict[str, Array]] = {}
        self._logits: dict[str, Array] = {}
        self.favoured: int | None = None
        self.margin = 0.0

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        key = _digest(modality, window)
        if key not in self._encoded:
            self._encoded[key] = super().encode(modality, window)
        return self._encoded[key]

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        # The skips follow from the window.
        key = _digest(modality, inputs.window, inputs.presence, *inputs.features.values())
        if key not in self._logits:
            self._logits[key] = super().decode(modality, inputs)
        logits = self._logits[key]
        if self.favoured is not None:
            logits = logits.copy()
            logits[:, self.favoured] += np.float32(self.margin)
        return logits


def _digest(modality: str, *arrays: Array) -> str:
    found = hashlib.sha256(modality.encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
