"""Where windows stand, how they are weighted, and which of them hold nothing but one value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.core import _native
from cmc_sdk.runtime.core.geometry import Size

__all__ = ["constant_value", "gaussian_axes", "longest_axis", "ring_size", "window_starts"]


def window_starts(size_vox: Size, *, window_vox: Size, overlap: float) -> list[tuple[int, int, int]]:
    """First voxels of the windows that cover a grid, in C order; the last window of an axis ends at its end.

    Args:
        size_vox: Size of the grid.
        window_vox: Size of a window.
        overlap: Share of a window that neighbours overlap, [0, 1); the step is int(window * (1 - overlap)), at least 1.

    Returns:
        Starts (x, y, z); negative where the grid is smaller than the window, which is then centred on it (the odd voxel
        of padding comes after).
    """
    return [(x, y, z) for x, y, z in _native.window_starts(size_vox, window_vox, overlap)]


def gaussian_axes(window_vox: Size, *, sigma_scale: float = 0.125) -> tuple[npt.NDArray[np.float32], ...]:
    """Three profiles whose outer product w(x)·w(y)·w(z) weighs a window: FP32, > 0, 1 at the centre.

    Args:
        window_vox: Size of a window.
        sigma_scale: Standard deviation as a share of the window's side.
    """
    return tuple(np.array(profile, np.float32) for profile in _native.gaussian_axes(window_vox, sigma_scale))


def longest_axis(size_vox: Size) -> int:
    """The axis with the most voxels, the last of them on a tie: the ring of open slices runs along it."""
    return _native.longest_axis(size_vox)


def ring_size(size_vox: Size, window_vox: Size) -> Size:
    """Size of the buffer that holds the open slices of a grid."""
    x, y, z = _native.ring_size(size_vox, window_vox)
    return (x, y, z)


def constant_value(window: npt.NDArray[Any]) -> float | None:
    """The one value that all voxels of an FP32 window have, or None."""
    return _native.constant_value(np.ascontiguousarray(window, dtype=np.float32))
