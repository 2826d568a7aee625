"""Grids in patient space: the model grid of a volume, unions of extents, and overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.core import _native

__all__ = ["Affine", "ModelGrid", "Size", "as_affine", "boxes_overlap", "extend_grid", "model_grid"]

Affine = npt.NDArray[np.float64]
Size = tuple[int, int, int]


@dataclass(frozen=True)
class ModelGrid:
    """A grid that windows are cut from.

    Args:
        affine_mm: (4, 4) float64, voxel index → RAS position in mm of the voxel's centre.
        size_vox: Number of voxels along each axis.
    """

    affine_mm: Affine
    size_vox: Size


def as_affine(affine_mm: npt.ArrayLike) -> Affine:
    """(4, 4) as the core takes it: float64, contiguous."""
    return np.ascontiguousarray(affine_mm, dtype=np.float64)


def model_grid(affine_mm: Affine, size_vox: Size, *, spacing_mm: Sequence[float]) -> ModelGrid:
    """The volume's own axes, permuted and flipped to the nearest RAS and resampled in spacing; never rotated.

    It has the same centre as the volume and covers the same extent, rounded up to whole voxels. A sheared volume keeps
    its shear.

    Args:
        affine_mm: (4, 4), voxel index of the volume → RAS position in mm.
        size_vox: Size of the volume.
        spacing_mm: Spacing of the model grid along its own (RAS-ordered) axes, > 0.
    """
    x, y, z = (float(value) for value in spacing_mm)
    affine, (i, j, k) = _native.model_grid(as_affine(affine_mm), size_vox, (x, y, z))
    return ModelGrid(affine, (i, j, k))


def extend_grid(grid: ModelGrid, *, affine_mm: Affine, size_vox: Size) -> ModelGrid:
    """`grid` with whole voxels added on each side until it covers the extent of another volume; same axes and phase."""
    affine, (x, y, z) = _native.extend_grid(as_affine(grid.affine_mm), grid.size_vox, as_affine(affine_mm), size_vox)
    return ModelGrid(affine, (x, y, z))


def boxes_overlap(affine_mm: Affine, size_vox: Size, *, other_affine_mm: Affine, other_size_vox: Size) -> bool:
    """Whether the extents of two volumes (parallelepipeds, voxel edges included) share a point in their inside."""
    return _native.boxes_overlap(as_affine(affine_mm), size_vox, as_affine(other_affine_mm), other_size_vox)
