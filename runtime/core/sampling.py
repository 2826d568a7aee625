"""Sampling windows from a volume on any grid, with one kernel for aligned and for oblique grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core import _native
from cmc_sdk.runtime.core._native import Threads
from cmc_sdk.runtime.core.geometry import Affine, ModelGrid, Size, as_affine
from cmc_sdk.runtime.core.intensity import IntensityStatistics
from cmc_sdk.runtime.core.volumes import readable

__all__ = ["WindowSampler", "sample_window"]


def sample_window(
    volume: Volume,
    *,
    affine_mm: Affine,
    size_vox: Size,
    background: float,
    mode: Literal["linear", "nearest"] = "linear",
    threads: Threads | None = None,
) -> npt.NDArray[Any]:
    """Sample a window of true values from `volume`; what lies outside it counts as `background`.

    `linear` uses a separable tent kernel on the source axes with half-width h_i = max(1, r_i), where r_i is the length
    in source voxels along axis i of one step along each window axis, combined as the root of the sum of squares (for
    aligned grids simply the ratio of spacings): trilinear when up-sampling, anti-aliased when down-sampling, and the
    same for a rotated window as for a straight one. Beyond the outermost source voxels it blends into `background`.

    Args:
        volume: The source.
        affine_mm: (4, 4), voxel index of the window → RAS position in mm.
        size_vox: Size of the window.
        background: Raw (true) value outside the source.
        mode: `nearest` for labels: keeps the source's dtype and takes the voxel whose centre is nearest, the higher
            index on a tie.
        threads: To work on; None: one. The result does not depend on it.

    Returns:
        (X, Y, Z), float32 for `linear`; the dtype of `volume.data` for `nearest`.
    """
    threads = threads or Threads(1)
    stored, affine, window = readable(volume), as_affine(volume.affine_mm), as_affine(affine_mm)
    if mode == "linear":
        out = np.empty(size_vox, np.float32)
        _native.sample_linear(stored, affine, volume.slope, volume.intercept, window, float(background), out, threads)
        return out
    if volume.slope == 1.0 and volume.intercept == 0.0:
        labels = np.empty(size_vox, stored.dtype)
        _native.sample_nearest(stored, affine, window, np.array([background], stored.dtype), labels, threads)
        return labels.view(volume.stored.dtype) if volume.stored.dtype == np.bool_ else labels
    values = np.empty(size_vox, np.float32)
    true_values = volume.true_values(stored)
    _native.sample_nearest(true_values, affine, window, np.array([background], np.float32), values, threads)
    return values


class WindowSampler:
    """The normalised windows of one scan, every voxel of the model grid sampled once, however much windows overlap.

    Args:
        volume: The scan.
        grid: The model grid.
        window_vox: Size of a window.
        starts: First voxels of all windows (`window_starts`).
        rule: How intensities are normalised.
        statistics: Of the scan.
    """

    def __init__(
        self,
        volume: Volume,
        *,
        grid: ModelGrid,
        window_vox: Size,
        starts: Sequence[Size],
        rule: IntensityRule,
        statistics: IntensityStatistics,
    ) -> None:
        self._window = window_vox
        self._native = _native.WindowSampler(
            readable(volume),
            as_affine(volume.affine_mm),
            volume.slope,
            volume.intercept,
            as_affine(grid.affine_mm),
            grid.size_vox,
            window_vox,
            list(starts),
            rule.clip,
            rule.scale,
            statistics.background,
            statistics.mean,
            statistics.std,
        )

    def window(self, start: Size, *, threads: Threads) -> tuple[npt.NDArray[np.float32], float | None]:
        """The window (X, Y, Z) at `start`, and its one value if it is constant.

        Along the grid's longest axis starts must not decrease from call to call.
        """
        out = np.empty(self._window, np.float32)
        return out, self._native.window(start, out, threads)

    @staticmethod
    def core_bytes(volume: Volume, *, grid: ModelGrid, window_vox: Size, starts: Sequence[Size], threads: int) -> int:
        """Bytes that a sampler holds, the largest while it works included, by formula."""
        return _native.WindowSampler.core_bytes(
            readable(volume),
            as_affine(volume.affine_mm),
            as_affine(grid.affine_mm),
            grid.size_vox,
            window_vox,
            list(starts),
            threads,
        )
