"""Where windows stand, how they are weighted, and which of them hold nothing but one value."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference.core.geometry import Size

__all__ = ["blend_profiles", "constant_value", "gaussian_axes", "longest_axis", "window_starts"]


def axis_starts(size: int, *, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis; one negative start if the axis is shorter than the window."""
    if size <= window:
        return [-((window - size) // 2)]
    interval = max(1, int(window * (1 - overlap)))
    count = math.ceil((size - window) / interval) + 1
    return [min(index * interval, size - window) for index in range(count)]


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
    axes = [
        axis_starts(size, window=window, overlap=overlap) for size, window in zip(size_vox, window_vox, strict=True)
    ]
    return list(itertools.product(*axes))  # type: ignore[arg-type]


def gaussian_axes(window_vox: Size, *, sigma_scale: float = 0.125) -> tuple[npt.NDArray[np.float32], ...]:
    """Three profiles whose outer product w(x)·w(y)·w(z) weighs a window: FP32, > 0, 1 at the centre.

    Args:
        window_vox: Size of a window.
        sigma_scale: Standard deviation as a share of the window's side.
    """
    profiles = []
    for size in window_vox:
        distance = (np.arange(size) - (size - 1) / 2) / (sigma_scale * size)
        profiles.append(np.maximum(np.exp(-0.5 * distance**2), 1e-6).astype(np.float32))
    return tuple(profiles)


def blend_profiles(
    profile: npt.NDArray[np.float32], *, starts: list[int], size: int
) -> dict[int, npt.NDArray[np.float32]]:
    """One axis's weights for each start, divided by the sum over all windows at that voxel.

    The windows form a product of three axes, so the sum of weights at a voxel is the product of three such sums:
    weights that are divided axis by axis add up to 1 everywhere, and no map of counts is needed.
    """
    total = np.zeros(size, np.float64)
    for start in starts:
        low, high = max(start, 0), min(start + len(profile), size)
        total[low:high] += profile[low - start : high - start]
    divided = {}
    for start in starts:
        low, high = max(start, 0), min(start + len(profile), size)
        divided[start] = (profile[low - start : high - start] / total[low:high]).astype(np.float32)
    return divided


def longest_axis(size_vox: Size) -> int:
    """The axis with the most voxels, the last of them on a tie: the ring of open slices runs along it."""
    return max(range(3), key=lambda axis: (size_vox[axis], axis))


def constant_value(window: npt.NDArray[Any]) -> float | None:
    """The one value that all voxels have, or None."""
    first = window.flat[0]
    # Most windows differ early: a thin sample decides before the whole window is read.
    if (window.reshape(-1)[:: max(1, window.size // 4096)] != first).any() or (window != first).any():
        return None
    return float(first)
