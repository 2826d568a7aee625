"""The golden scan: synthetic, one in which the trained network finds something, with the voxels that it leaves open."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.export.parity import ParityCase, subsets_of
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.backends.protocol import Array, Backend
from cmc_sdk.runtime.golden import decode_volume, encode_volume
from cmc_sdk.runtime.segmenter import Segmenter
from cmc_sdk.runtime.synthetic import synthetic_case

__all__ = ["MARGIN", "golden_case", "undecided_voxels"]

MARGIN = 5e-3
"""A voxel whose two best logits lie closer than this is undecided: float32 libraries differ by up to 1e-3."""

_CANDIDATES = 4


def golden_case(spec: ModelSpec, *, reference: Backend) -> ParityCase:
    """The synthetic scan, of a few seeds, in which the trained network finds the most classes.

    A scan in which it finds nothing would let a broken graph through that finds nothing either. It knows nothing of
    such a scan, though, and leaves many voxels nearly open between two classes, where the last bit of a sum decides:
    those are marked, and are not compared.
    """
    best: tuple[tuple[int, int], dict[str, Volume]] = ((-1, -1), {})
    for seed in range(_CANDIDATES):
        images = {
            # As it will be read back on the device: NIfTI rounds the affine to float32.
            name: decode_volume(encode_volume(volume), name=volume.name)
            for name, volume in synthetic_case(spec, seed=seed).items()
        }
        labels = Segmenter(spec, reference).infer(images, pairing="registered").labels
        found = [np.bincount(label.stored.ravel(), minlength=spec.classes.num_classes)[1:] for label in labels.values()]
        score = (int(np.count_nonzero(found)), min(int(counts.sum()) for counts in found))
        if score > best[0]:
            best = (score, images)
        if score[0] == len(found) * (spec.classes.num_classes - 1):
            break
    case = ParityCase(name="synthetic", images=best[1], pairing="registered", synthetic=True)
    undecided = {
        present: undecided_voxels(case, present, spec=spec, reference=reference) for present in subsets_of(spec.names)
    }
    return dataclasses.replace(case, undecided=undecided)


def undecided_voxels(
    case: ParityCase, present: tuple[str, ...], *, spec: ModelSpec, reference: Backend, margin: float = MARGIN
) -> dict[str, npt.NDArray[np.bool_]]:
    """Where another class would win if its logit were `margin` higher, by modality, on the scan's own grid.

    Blending and resampling are weighted means, so a constant added to one class's logits in every window arrives
    unchanged at every voxel: each class is favoured once, and what changes its label is undecided.
    """
    images = {name: case.images[name] for name in present}
    remembered = _Remembering(reference)
    plain = Segmenter(spec, remembered).infer(images, pairing=case.pairing).labels
    undecided = {name: np.zeros(label.stored.shape, dtype=bool) for name, label in plain.items()}
    for index in range(spec.classes.num_classes):
        remembered.favoured, remembered.margin = index, margin
        labels = Segmenter(spec, remembered).infer(images, pairing=case.pairing).labels
        for name, mask in undecided.items():
            mask |= labels[name].stored != plain[name].stored
    return undecided


class _Remembering:
    """Answers as `backend`, which is asked once about equal inputs; adds `margin` to the logits of class `favoured`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name, self.precision, self.modalities = backend.name, backend.precision, backend.modalities
        self._encoded: dict[str, dict[str, Array]] = {}
        self._logits: dict[str, Array] = {}
        self.favoured: int | None = None
        self.margin = 0.0

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        key = _digest(modality, window)
        if key not in self._encoded:
            self._encoded[key] = self._backend.encode(modality, window)
        return self._encoded[key]

    def decode(
        self,
        modality: str,
        *,
        features: Mapping[str, Array],
        presence: Array,
        encoded: Mapping[str, Array],
        window: Array,
    ) -> Array:
        # The skips follow from the window.
        key = _digest(modality, window, presence, *features.values())
        if key not in self._logits:
            self._logits[key] = self._backend.decode(
                modality, features=features, presence=presence, encoded=encoded, window=window
            )
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
