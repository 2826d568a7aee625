"""What int8 graphs do to labels, on real windows: the measure by which layers are taken back to FP32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.export.precision.calibration_windows import CalibrationWindow
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs

__all__ = ["Harm", "WindowLabels"]

MIN_VOX = 200
"""Of a small class in all windows: in fewer, one voxel is half of a per cent.

A number of its own: the gate, which sees whole scans, has no such floor.
"""


@dataclass(frozen=True)
class Harm:
    """How far labels of windows lie from the reference's.

    Args:
        dice: By class, the lowest over modalities and subsets; None where the class is nowhere.
        flips: Largest share of the foreground that flips.
        small_flips: Largest share of a small class's voxels that flip, by class; of small classes only.
    """

    dice: Mapping[str, float | None]
    flips: float
    small_flips: Mapping[str, float] = field(default_factory=dict)

    def share(self, limits: GateLimits) -> float:
        """Of what `limits` allow, how much is used up: 1 is the limit."""
        worst = min((value for value in self.dice.values() if value is not None), default=1.0)
        small = max(self.small_flips.values(), default=0.0)
        return max(
            (1.0 - worst) / max(1.0 - limits.min_dice, 1e-9),
            self.flips / max(limits.max_flips, 1e-9),
            small / max(limits.small_class_flips, 1e-9),
        )

    def words(self) -> str:
        """The figures in a few words."""
        known = {name: value for name, value in self.dice.items() if value is not None}
        lowest = min(known, key=lambda name: known[name], default=None)
        text = f"{self.flips:.2%} of the foreground flips"
        if self.small_flips:
            most = max(self.small_flips, key=lambda name: self.small_flips[name])
            text += f", {self.small_flips[most]:.2%} of {most}, a small class"
        return text if lowest is None else f"Dice {known[lowest]:.4f} in {lowest}, {text}"


class WindowLabels:
    """The reference's labels of calibration windows, to hold others against.

    Args:
        windows: From `sample_windows`.
        spec: Of the network.
        reference: ONNX Runtime f32.
        limits: A class of fewer voxels than `small_class_vox` in all windows is not held to its Dice; one of fewer than
            that in the average window that has it is held to its flips too, as the gate does with each scan.
    """

    def __init__(
        self, windows: Sequence[CalibrationWindow], *, spec: ModelSpec, reference: Backend, limits: GateLimits
    ) -> None:
        self._windows, self._spec, self._limits = tuple(windows), spec, limits
        self._expected = self._label(reference)

    def harm(self, backend: Backend) -> Harm:
        """Of `backend`, pooled over windows, by modality and subset."""
        given = self._label(backend)
        names = self._spec.classes.names
        dice: dict[str, float | None] = dict.fromkeys(names)
        flips, small = 0.0, dict[str, float]()
        for key in {key[1:] for key in self._expected}:
            pairs = [(self._expected[full], given[full]) for full in self._expected if full[1:] == key]
            matrices = [_confusion(a, b, count=len(names) + 1) for a, b in pairs]
            matrix = sum(matrices[1:], start=matrices[0])
            foreground = int(matrix.sum() - matrix[0, 0])
            flips = max(flips, (matrix.sum() - matrix.trace()) / foreground if foreground else 0.0)
            for index, name in enumerate(names, start=1):
                both = int(matrix[index].sum() + matrix[:, index].sum())
                if both >= 2 * self._limits.small_class_vox:
                    value = 2.0 * int(matrix[index, index]) / both
                    known = dice[name]
                    dice[name] = value if known is None else min(known, value)
                share = self._small_flips(matrices, index)
                if share is not None:
                    small[name] = max(small.get(name, 0.0), share)
        return Harm(dice, float(flips), small)

    def _small_flips(self, matrices: Sequence[npt.NDArray[np.int64]], index: int) -> float | None:
        """Share of a class's voxels that flip, over the windows that have it; None where it is large, or too rare."""
        having = [matrix for matrix in matrices if matrix[index].any()]
        voxels = sum(int(matrix[index].sum()) for matrix in having)
        if voxels < MIN_VOX or voxels >= self._limits.small_class_vox * len(having):
            return None
        return sum(int(m[index].sum() + m[:, index].sum() - 2 * m[index, index]) for m in having) / voxels

    def _label(self, backend: Backend) -> dict[tuple[int, tuple[str, ...], str], npt.NDArray[np.uint8]]:
        """Labels by window, subset and modality."""
        found = {}
        for index, window in enumerate(self._windows):
            given = {name: image[None, None] for name, image in window.images.items()}
            encoded = {name: backend.encode(name, array) for name, array in given.items()}
            for present in dict.fromkeys((tuple(given), *((name,) for name in given))):
                features = {
                    name: encoded[name if name in present else present[0]]["features"] * np.float32(name in present)
                    for name in self._spec.names
                }
                row: Array = np.array([[float(name in present) for name in self._spec.names]], np.float32)
                for name in present:
                    logits = backend.decode(name, DecoderInputs(features, row, encoded[name], given[name]))
                    found[index, present, name] = logits[0].argmax(axis=0).astype(np.uint8)
        return found


def _confusion(expected: npt.NDArray[np.uint8], given: npt.NDArray[np.uint8], *, count: int) -> npt.NDArray[np.int64]:
    joint = expected.astype(np.int64).ravel() * count + given.ravel()
    return np.bincount(joint, minlength=count * count).reshape(count, count)
