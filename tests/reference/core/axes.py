"""Interpolation along one axis at a time, as products with narrow matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AxisKernel", "apply_kernel", "tent_kernel"]

BLOCK = 32
"""Outputs of one product. Narrow blocks skip most zeros of the banded matrix and keep every sum shorter than the panel
at which a BLAS would split it, so that results do not depend on the number of threads."""


@dataclass(frozen=True)
class AxisKernel:
    """Weights that make `size_out` samples along an axis.

    Args:
        size_out: Number of samples.
        source: Half-open range of source indices with a weight; empty if no sample touches the source.
        blocks: (first output, end, first source index, end, weights (outputs, sources) float32); samples that no
            block covers are zero.
    """

    size_out: int
    source: tuple[int, int]
    blocks: tuple[tuple[int, int, int, int, npt.NDArray[np.float32]], ...]


def tent_kernel(positions: npt.NDArray[np.float64], *, half_width: float, size: int) -> AxisKernel:
    """Samples at `positions` with the tent kernel w(d) = max(0, 1 - |d| / half_width), normalised to sum 1.

    The sum counts neighbours outside [0, size) as well; their weights are left out of the kernel, so a sample that
    reaches over the edge sums to less than 1.

    Args:
        positions: Where to sample, in source voxels.
        half_width: >= 1 source voxel; 1 is linear interpolation.
        size: Number of source voxels along the axis.
    """
    first, weights = tent_taps(positions, half_width=half_width)
    index = first[:, None] + np.arange(weights.shape[1])
    inside = (index >= 0) & (index < size) & (weights > 0)
    blocks = []
    for start in range(0, len(positions), BLOCK):
        part = inside[start : start + BLOCK]
        if not part.any():
            continue
        used = index[start : start + BLOCK][part]
        low, high = int(used.min()), int(used.max()) + 1
        matrix = np.zeros((len(part), high - low), np.float32)
        matrix[np.nonzero(part)[0], used - low] = weights[start : start + BLOCK][part]
        blocks.append((start, start + len(part), low, high, matrix))
    source = (min(block[2] for block in blocks), max(block[3] for block in blocks)) if blocks else (0, 0)
    return AxisKernel(len(positions), source, tuple(blocks))


def tent_taps(
    positions: npt.NDArray[np.float64], *, half_width: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """First neighbour (n,) and the normalised weights (n, taps) of it and those after it, for each position."""
    first = np.floor(positions - half_width).astype(np.int64) + 1
    taps = int(np.ceil(2 * half_width))
    distance = np.abs(first[:, None] + np.arange(taps) - positions[:, None])
    weights = np.maximum(0.0, 1.0 - distance / half_width)
    return first, weights / weights.sum(axis=1, keepdims=True)


def apply_kernel(
    array: npt.NDArray[np.float32], kernel: AxisKernel, *, axis: int, origin: int = 0
) -> npt.NDArray[np.float32]:
    """Sample `axis` of a C-contiguous array.

    Args:
        array: (..., X, Y, Z) float32; index 0 along `axis` is source index `origin`.
        kernel: What to sample; its source range must lie within the array.
        axis: -3, -2 or -1.
        origin: See `array`.

    Returns:
        A new array with `kernel.size_out` along `axis`.
    """
    shape = list(array.shape)
    shape[axis] = kernel.size_out
    covered = sum(stop - start for start, stop, *_ in kernel.blocks) == kernel.size_out
    out: npt.NDArray[np.float32] = (np.empty if covered else np.zeros)(shape, np.float32)
    source, target = _as_product(array, axis), _as_product(out, axis)
    for start, stop, low, high, matrix in kernel.blocks:
        if axis == -1:
            np.matmul(source[:, low - origin : high - origin], matrix.T, out=target[:, start:stop])
        else:
            np.matmul(matrix, source[:, low - origin : high - origin], out=target[:, start:stop])
    return out


def _as_product(array: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """A view of a contiguous array as (rows, axis) for the last axis, else as (batch, axis, columns)."""
    if axis == -1:
        return array.reshape(-1, array.shape[-1])
    return array.reshape(-1, array.shape[axis], int(np.prod(array.shape[axis:][1:])))
