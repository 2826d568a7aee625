"""The ring of open slices: windows are added to it, and slices that no later window touches are turned into labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference.core.finalise import Labelling, labelling
from tests.reference.core.geometry import Affine, ModelGrid, Size
from tests.reference.core.windows import blend_profiles, gaussian_axes, longest_axis

__all__ = ["Accumulator"]


class Accumulator:
    """Blends window logits on a model grid and labels a target grid slab by slab; logits of either never exist whole.

    Windows are weighted by a separable Gaussian that is divided by its own sum beforehand, and added up in FP32 in a
    buffer of window + 1 slices along the model grid's longest axis. When a window starts beyond a slice, the slice is
    closed: the target voxels between closed slices get their logits by trilinear interpolation (a voxel beyond the
    model grid takes its edge), their label by argmax (the lowest index on a tie) and the softmax of it as confidence.

    Args:
        grid: The model grid.
        target_affine_mm: (4, 4), voxel index of the grid to label → RAS position in mm.
        target_size_vox: Size of the grid to label.
        num_classes: K, background included.
        window_vox: Size of a window.
        starts: First voxels of all windows, a product of three axes (`window_starts`).

    Attributes:
        finalise_seconds: Time spent so far on labelling closed slices.
    """

    def __init__(
        self,
        grid: ModelGrid,
        *,
        target_affine_mm: Affine,
        target_size_vox: Size,
        num_classes: int,
        window_vox: Size,
        starts: Sequence[tuple[int, int, int]],
    ) -> None:
        self.axis = longest_axis(grid.size_vox)
        self._size = grid.size_vox
        self._window = window_vox
        self._profiles = [
            blend_profiles(profile, starts=sorted({start[axis] for start in starts}), size=grid.size_vox[axis])
            for axis, profile in enumerate(gaussian_axes(window_vox))
        ]
        self._ring = np.zeros((num_classes, *ring_size(grid.size_vox, window_vox)), np.float32)
        self._scratch = np.empty(window_vox, np.float32).reshape(-1)
        self._base = 0  # model slice that the ring's first slice is
        self._row: int | None = None
        self._labelling: Labelling = labelling(
            np.linalg.inv(grid.affine_mm) @ target_affine_mm,
            model_size_vox=grid.size_vox,
            target_size_vox=target_size_vox,
            num_classes=num_classes,
            axis=self.axis,
        )
        self.finalise_seconds = 0.0

    def add(self, logits: npt.NDArray[np.float32], *, start: tuple[int, int, int]) -> None:
        """Add one window.

        Args:
            logits: (K, X, Y, Z) of the window's size; left as it is.
            start: Its first voxel in the model grid. Along `axis` starts must not decrease from call to call.

        Raises:
            ValueError: A start that comes too late, or is none of the planned ones.
        """
        row = start[self.axis]
        if self._row is not None and row < self._row:
            raise ValueError(f"window {start} comes after its slices were closed")
        if self._row is not None and row > self._row:
            self._close(row)
        self._row = row
        low = [max(first, 0) for first in start]
        high = [min(first + side, size) for first, side, size in zip(start, self._window, self._size, strict=True)]
        inside = tuple(slice(a - first, b - first) for a, b, first in zip(low, high, start, strict=True))
        low[self.axis] -= self._base
        high[self.axis] -= self._base
        place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        x, y, z = (profiles[first] for profiles, first in zip(self._profiles, start, strict=True))
        weight = (x[:, None] * y)[:, :, None] * z
        product = self._scratch[: weight.size].reshape(weight.shape)
        for target, values in zip(self._ring, logits, strict=True):
            np.multiply(values[inside], weight, out=product)
            target[place] += product

    def finish(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[Any], npt.NDArray[Any]]:
        """Close what is open.

        Returns:
            Labels and confidence (1/255) on the target grid; for each class its number of voxels, and its summed
            confidence in [0, 1] per voxel.
        """
        self._close(self._size[self.axis])
        result = self._labelling
        return result.labels, result.confidence, result.counts, result.confidence_sums

    def _close(self, until: int) -> None:
        """Label all that lies between slices below `until`, then move the open slices to the front of the ring."""
        started = time.perf_counter()
        last = until == self._size[self.axis]
        self._labelling.write(self._ring, base=self._base, until=until, last=last)
        if not last:
            # The last closed slice stays: target voxels between it and the first open one still need it.
            shift = until - 1 - self._base
            for buffer in self._ring:
                slices = np.moveaxis(buffer, self.axis, 0)
                keep = slices.shape[0] - shift
                for index in range(keep):
                    slices[index] = slices[index + shift]
                slices[keep:] = 0.0
            self._base = until - 1
        self.finalise_seconds += time.perf_counter() - started


def ring_size(size_vox: Size, window_vox: Size) -> Size:
    """Size of the buffer that holds the open slices of a grid."""
    axis = longest_axis(size_vox)
    size = list(size_vox)
    size[axis] = min(size_vox[axis], window_vox[axis] + 1)
    return (size[0], size[1], size[2])
