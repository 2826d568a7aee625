"""Grids in patient space: the model grid of a volume, unions of extents, overlap, and how axes align."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.orientation import nearest_ras
from cmc_sdk.runtime.core import ModelGrid

__all__ = ["AxisMap", "ModelGrid", "align_axes", "boxes_overlap", "extend_grid", "model_grid"]

Affine = npt.NDArray[np.float64]
Size = tuple[int, int, int]

ALIGNED_TOLERANCE_VOX = 1e-3
"""Two grids count as aligned if leaving out the off-axis terms moves no voxel by more than this."""


@dataclass(frozen=True)
class AxisMap:
    """An index map that only permutes, flips, scales and shifts axes.

    Args:
        target_axis: For each axis of the grid that is mapped from, the axis of the other grid that it runs along.
        scale: Voxels of the other grid per voxel, by axis of the grid that is mapped from; negative for a flip.
        offset: Position in the other grid of index 0, by axis of the grid that is mapped from.
    """

    target_axis: Size
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    def positions(self, axis: int, count: int) -> npt.NDArray[np.float64]:
        """Positions in the other grid of indices 0 … count-1 of `axis`, rounded to 1e-6 voxel."""
        # The rounding makes a grid laid on itself fall exactly on its voxels, whatever inverting an affine left behind.
        return np.round(np.arange(count) * self.scale[axis] + self.offset[axis], 6)


def model_grid(affine_mm: Affine, size_vox: Size, *, spacing_mm: Sequence[float]) -> ModelGrid:
    """The volume's own axes, permuted and flipped to the nearest RAS and resampled in spacing; never rotated.

    It has the same centre as the volume and covers the same extent, rounded up to whole voxels. A sheared volume keeps
    its shear.

    Args:
        affine_mm: (4, 4), voxel index of the volume → RAS position in mm.
        size_vox: Size of the volume.
        spacing_mm: Spacing of the model grid along its own (RAS-ordered) axes, > 0.
    """
    lengths = np.linalg.norm(affine_mm[:3, :3], axis=0)
    directions = affine_mm[:3, :3] / lengths
    nearest = nearest_ras(affine_mm)
    order = nearest.source_axis
    signs = [-1.0 if flipped else 1.0 for flipped in nearest.flipped]
    extents = [size_vox[axis] * lengths[axis] for axis in order]
    # A hair's breadth is taken off, so that an exact fit is not rounded up to one voxel more.
    size = [max(1, math.ceil(extent / step - 1e-4)) for extent, step in zip(extents, spacing_mm, strict=True)]
    affine = np.eye(4)
    for row, axis in enumerate(order):
        affine[:3, row] = directions[:, axis] * signs[row] * spacing_mm[row]
    centre = affine_mm[:3, :3] @ ((np.array(size_vox) - 1) / 2) + affine_mm[:3, 3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(size) - 1) / 2)
    return ModelGrid(affine, (size[0], size[1], size[2]))


def extend_grid(grid: ModelGrid, *, affine_mm: Affine, size_vox: Size) -> ModelGrid:
    """`grid` with whole voxels added on each side until it covers the extent of another volume; same axes and phase."""
    corners = _corners(np.linalg.inv(grid.affine_mm) @ affine_mm, size_vox)
    low = [min(0, math.floor(value + 0.5 + 1e-4)) for value in corners.min(axis=0)]
    high = [
        max(size, math.ceil(value + 0.5 - 1e-4)) for size, value in zip(grid.size_vox, corners.max(axis=0), strict=True)
    ]
    affine = grid.affine_mm.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(low, dtype=np.float64)
    return ModelGrid(affine, (high[0] - low[0], high[1] - low[1], high[2] - low[2]))


def boxes_overlap(affine_mm: Affine, size_vox: Size, *, other_affine_mm: Affine, other_size_vox: Size) -> bool:
    """Whether the extents of two volumes (parallelepipeds, voxel edges included) share a point in their inside."""
    first, second = _corners(affine_mm, size_vox), _corners(other_affine_mm, other_size_vox)
    edges_a, edges_b = affine_mm[:3, :3].T, other_affine_mm[:3, :3].T
    candidates = [np.cross(edges[i], edges[j]) for edges in (edges_a, edges_b) for i, j in ((0, 1), (0, 2), (1, 2))]
    candidates += [np.cross(a, b) for a in edges_a for b in edges_b]
    for axis in candidates:
        length = np.linalg.norm(axis)
        if length < 1e-9 * max(1.0, float(np.abs(edges_a).max() * np.abs(edges_b).max())):
            continue  # parallel edges span no separating plane
        along_a, along_b = first @ (axis / length), second @ (axis / length)
        if along_a.max() <= along_b.min() or along_b.max() <= along_a.min():
            return False
    return True


def align_axes(matrix: Affine, *, size_vox: Size) -> AxisMap | None:
    """Read an index map as permutation, flips, scales and shifts; None if the axes do not align.

    Args:
        matrix: (4, 4), index of a grid of `size_vox` → position in another grid.
        size_vox: Size of the grid that is mapped from; decides how far small off-axis terms may carry.
    """
    linear = matrix[:3, :3]
    target = np.abs(linear).argmax(axis=0)
    if len(set(target.tolist())) != 3:
        return None
    off_axis = np.abs(linear) * (np.array(size_vox) - 1)
    off_axis[target, range(3)] = 0.0
    if off_axis.sum(axis=1).max() > ALIGNED_TOLERANCE_VOX:
        return None
    x, y, z = (int(axis) for axis in target)
    scale = (float(linear[x, 0]), float(linear[y, 1]), float(linear[z, 2]))
    offset = (float(matrix[x, 3]), float(matrix[y, 3]), float(matrix[z, 3]))
    return AxisMap((x, y, z), scale, offset)


def _corners(matrix: Affine, size_vox: Size) -> npt.NDArray[np.float64]:
    """(8, 3): the corners of a grid's extent, half a voxel beyond the outer centres, through `matrix`."""
    edges = [(-0.5, size - 0.5) for size in size_vox]
    corners = np.array(list(itertools.product(*edges)))
    mapped: npt.NDArray[np.float64] = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return mapped
