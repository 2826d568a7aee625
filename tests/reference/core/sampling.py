"""Sampling one window from a volume on any grid, with one kernel for aligned and for oblique grids."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.volume import Volume
from tests.reference.core.axes import AxisKernel, apply_kernel, tent_kernel, tent_taps
from tests.reference.core.geometry import Affine, AxisMap, Size, align_axes

__all__ = ["sample_window"]

REGION_VOXELS = 1 << 24
"""A window whose source region holds more voxels than this is sampled in parts, so that memory stays bounded."""
POINTS = 1 << 18
"""Voxels of an oblique window that are sampled at once."""


def sample_window(
    volume: Volume,
    *,
    affine_mm: Affine,
    size_vox: Size,
    background: float,
    mode: Literal["linear", "nearest"] = "linear",
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

    Returns:
        (X, Y, Z), float32 for `linear`; the dtype of `volume.data` for `nearest`.
    """
    matrix = np.linalg.inv(volume.affine_mm) @ affine_mm
    axes = align_axes(matrix, size_vox=size_vox)
    if mode == "nearest":
        return _nearest(volume, matrix, axes, size_vox, background)
    half_width = np.maximum(1.0, np.round(np.linalg.norm(matrix[:3, :3], axis=1), 6))
    if axes is None:
        return _linear_oblique(volume, matrix, half_width, size_vox, background)
    return _linear_aligned(volume, axes, half_width, size_vox, background)


def _linear_aligned(
    volume: Volume, axes: AxisMap, half_width: npt.NDArray[np.float64], size_vox: Size, background: float
) -> npt.NDArray[np.float32]:
    # Axes are taken in the order in which the source lies in memory, so that reading it runs along its rows.
    order = sorted(range(3), key=lambda axis: -abs(volume.stored.strides[axes.target_axis[axis]]))
    kernels: list[AxisKernel] = []
    for axis in order:
        source_axis = axes.target_axis[axis]
        kernels.append(
            tent_kernel(
                axes.positions(axis, size_vox[axis]),
                half_width=float(half_width[source_axis]),
                size=volume.size_vox[source_axis],
            )
        )
    stored = volume.stored.transpose([axes.target_axis[axis] for axis in order])
    window = _separable(volume, stored, kernels, background)
    window += np.float32(background)
    return np.ascontiguousarray(window.transpose(np.argsort(order)))


def _separable(
    volume: Volume, stored: npt.NDArray[Any], kernels: list[AxisKernel], background: float
) -> npt.NDArray[np.float32]:
    """The window less `background`: what lies outside is then zero, and needs no weights."""
    sizes = [kernel.source[1] - kernel.source[0] for kernel in kernels]
    if 0 in sizes:
        return np.zeros([kernel.size_out for kernel in kernels], np.float32)
    first = kernels[0]
    if int(np.prod(sizes)) > REGION_VOXELS and len(first.blocks) > 1:
        out = np.zeros([kernel.size_out for kernel in kernels], np.float32)
        for start, stop, low, high, matrix in first.blocks:
            part = AxisKernel(stop - start, (low, high), ((0, stop - start, low, high, matrix),))
            out[start:stop] = _separable(volume, stored, [part, *kernels[1:]], background)
        return out
    region = stored[tuple(slice(*kernel.source) for kernel in kernels)]
    window = volume.true_values(np.ascontiguousarray(region))
    window -= np.float32(background)
    # The axis that shrinks most goes first.
    for axis in sorted(range(3), key=lambda axis: kernels[axis].size_out / sizes[axis]):
        window = apply_kernel(window, kernels[axis], axis=axis - 3, origin=kernels[axis].source[0])
    return window


def _linear_oblique(
    volume: Volume, matrix: Affine, half_width: npt.NDArray[np.float64], size_vox: Size, background: float
) -> npt.NDArray[np.float32]:
    out = np.empty(size_vox, np.float32)
    flat = out.reshape(-1)
    for start in range(0, flat.size, POINTS):
        stop = min(start + POINTS, flat.size)
        positions = _positions(matrix, size_vox, start, stop)
        inside = np.ones(stop - start, bool)
        for axis, size in enumerate(volume.size_vox):
            inside &= (positions[axis] > -half_width[axis]) & (positions[axis] < size - 1 + half_width[axis])
        values = np.zeros(stop - start, np.float32)
        if inside.any():
            values[inside] = _gather(volume, positions[:, inside], half_width, background)
        flat[start:stop] = values + np.float32(background)
    return out


def _gather(
    volume: Volume, positions: npt.NDArray[np.float64], half_width: npt.NDArray[np.float64], background: float
) -> npt.NDArray[np.float32]:
    """Weighted sums (n,) of true values less `background` at `positions` (3, n)."""
    indices, weights = [], []
    for axis, size in enumerate(volume.size_vox):
        first, weight = tent_taps(positions[axis], half_width=float(half_width[axis]))
        index = first + np.arange(weight.shape[1])[:, None]
        weights.append(np.where((index >= 0) & (index < size), weight.T, 0.0).astype(np.float32))
        indices.append(np.clip(index, 0, size - 1))
    total = np.zeros(positions.shape[1], np.float32)
    for x, weight_x in zip(indices[0], weights[0], strict=True):
        for y, weight_y in zip(indices[1], weights[1], strict=True):
            weight_xy = weight_x * weight_y
            for z, weight_z in zip(indices[2], weights[2], strict=True):
                values = volume.true_values(volume.stored[x, y, z])
                values -= np.float32(background)
                values *= weight_xy * weight_z
                total += values
    return total


def _nearest(
    volume: Volume, matrix: Affine, axes: AxisMap | None, size_vox: Size, background: float
) -> npt.NDArray[Any]:
    scaled = volume.slope != 1.0 or volume.intercept != 0.0
    out = np.full(size_vox, background, np.float32 if scaled else volume.stored.dtype)

    def value(found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return volume.true_values(found) if scaled else found

    if axes is not None:
        found, valid = [], []
        for axis in range(3):
            index = np.floor(axes.positions(axis, size_vox[axis]) + 0.5).astype(np.int64)
            valid.append(np.nonzero((index >= 0) & (index < volume.size_vox[axes.target_axis[axis]]))[0])
            found.append(index[valid[-1]])
        stored = volume.stored.transpose(axes.target_axis)
        out[np.ix_(*valid)] = value(stored[np.ix_(*found)])
        return out
    flat = out.reshape(-1)
    for start in range(0, flat.size, POINTS):
        stop = min(start + POINTS, flat.size)
        index = np.floor(_positions(matrix, size_vox, start, stop) + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < np.array(volume.size_vox)[:, None])).all(axis=0)
        x, y, z = index[:, inside]
        flat[start:stop][inside] = value(volume.stored[x, y, z])
    return out


def _positions(matrix: Affine, size_vox: Size, start: int, stop: int) -> npt.NDArray[np.float64]:
    """(3, n): source positions of the window voxels start … stop-1, counted in C order."""
    index = np.stack(np.unravel_index(np.arange(start, stop), size_vox)).astype(np.float64)
    return np.round(matrix[:3, :3] @ index + matrix[:3, 3:4], 6)
