"""The ring of open slices: windows are added to it, and slices that no later window touches are turned into labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.core import _native
from cmc_sdk.runtime.core._native import Threads
from cmc_sdk.runtime.core.geometry import Affine, ModelGrid, Size, as_affine

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
        num_classes: K, background included, 2 to 256.
        window_vox: Size of a window.
        starts: First voxels of all windows, a product of three axes (`window_starts`).
        threads: To work on; None: one. Labels do not depend on it.
    """

    def __init__(
        self,
        grid: ModelGrid,
        *,
        target_affine_mm: Affine,
        target_size_vox: Size,
        num_classes: int,
        window_vox: Size,
        starts: Sequence[Size],
        threads: Threads | None = None,
    ) -> None:
        self._threads = threads or Threads(1)
        self._labels = np.zeros(target_size_vox, np.uint8)
        self._confidence = np.zeros(target_size_vox, np.uint8)
        self._native = _native.Accumulator(
            as_affine(grid.affine_mm),
            grid.size_vox,
            self._labels,
            self._confidence,
            as_affine(target_affine_mm),
            num_classes,
            window_vox,
            list(starts),
        )

    @property
    def finalise_seconds(self) -> float:
        """Time spent so far on labelling closed slices."""
        return self._native.label_seconds

    def add(self, logits: npt.NDArray[np.float32], *, start: Size) -> None:
        """Add one window.

        Args:
            logits: (K, X, Y, Z) of the window's size; left as it is.
            start: Its first voxel in the model grid. Along the longest axis starts must not decrease from call to call.

        Raises:
            ValueError: A start that comes too late, or is none of the planned ones; logits of another shape.
        """
        self._native.add(np.ascontiguousarray(logits, np.float32), start, self._threads)

    def finish(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[Any], npt.NDArray[Any]]:
        """Close what is open.

        Returns:
            Labels and confidence (1/255) on the target grid; for each class its number of voxels, and its summed
            confidence in [0, 1] per voxel.
        """
        self._native.finish(self._threads)
        counts = np.array(self._native.counts, np.int64)
        return self._labels, self._confidence, counts, np.array(self._native.confidence_sums, np.float64)

    @staticmethod
    def core_bytes(
        grid: ModelGrid,
        *,
        target_affine_mm: Affine,
        target_size_vox: Size,
        num_classes: int,
        window_vox: Size,
        starts: Sequence[Size],
        threads: int,
    ) -> int:
        """Bytes that an accumulator holds, the largest while it works included, by formula; labels apart."""
        _, y, z = target_size_vox
        return _native.Accumulator.core_bytes(
            as_affine(grid.affine_mm),
            grid.size_vox,
            target_size_vox,
            (y * z, z, 1),
            as_affine(target_affine_mm),
            num_classes,
            window_vox,
            list(starts),
            threads,
        )
