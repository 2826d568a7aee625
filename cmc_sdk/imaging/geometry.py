"""Where grids lie in the patient: corners, boxes, overlap, distances between grids."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.volume import Volume

__all__ = ["bounding_box_mm", "check_overlap", "corners_mm", "displacement_mm", "extent_mm", "overlap_mm"]


def corners_mm(affine_mm: npt.ArrayLike, *, size_vox: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """The eight outer corners of a grid, (8, 3) in RAS mm: half a voxel beyond the outermost voxel centres."""
    affine = np.asarray(affine_mm, dtype=np.float64)
    bounds = [(-0.5, size - 0.5) for size in size_vox]
    index = np.array([(i, j, k) for i in bounds[0] for j in bounds[1] for k in bounds[2]])
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3], dtype=np.float64)


def bounding_box_mm(affine_mm: npt.ArrayLike, *, size_vox: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """The smallest box with faces along R, A and S that holds a grid: (2, 3), lowest then highest RAS mm."""
    corners = corners_mm(affine_mm, size_vox=size_vox)
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def extent_mm(affine_mm: npt.ArrayLike, *, size_vox: tuple[int, int, int]) -> tuple[float, float, float]:
    """The field of view along each voxel axis: size times spacing."""
    x, y, z = np.linalg.norm(np.asarray(affine_mm, dtype=np.float64)[:3, :3], axis=0) * size_vox
    return (float(x), float(y), float(z))


def displacement_mm(affine_a_mm: npt.ArrayLike, affine_b_mm: npt.ArrayLike, *, size_vox: tuple[int, int, int]) -> float:
    """How far apart two affines put the same voxel of one array, at most (it is largest at a corner)."""
    difference = corners_mm(affine_a_mm, size_vox=size_vox) - corners_mm(affine_b_mm, size_vox=size_vox)
    return float(np.linalg.norm(difference, axis=1).max())


def overlap_mm(first: Volume, second: Volume) -> tuple[float, float, float]:
    """By how much the RAS boxes of two volumes overlap along R, A and S; 0 where they are apart.

    Boxes with faces along R, A and S: for oblique grids this may see an overlap at corners where there is none, and
    never misses one.
    """
    box_a = bounding_box_mm(first.affine_mm, size_vox=first.size_vox)
    box_b = bounding_box_mm(second.affine_mm, size_vox=second.size_vox)
    r, a, s = np.maximum(np.minimum(box_a[1], box_b[1]) - np.maximum(box_a[0], box_b[0]), 0.0)
    return (float(r), float(a), float(s))


def check_overlap(volumes: Mapping[str, Volume]) -> None:
    """Refuse volumes that are said to share one frame of reference but have no place in common.

    Raises:
        GeometryError: The boxes of two of them do not overlap; names both, their boxes and the gap.
    """
    for first, second in combinations(volumes, 2):
        if min(overlap_mm(volumes[first], volumes[second])) > 0.0:
            continue
        boxes = {
            name: bounding_box_mm(volumes[name].affine_mm, size_vox=volumes[name].size_vox) for name in (first, second)
        }
        gap = np.maximum(boxes[first][0] - boxes[second][1], boxes[second][0] - boxes[first][1])
        axis = int(gap.argmax())
        raise GeometryError(
            f"{first} ({volumes[first].name}) and {second} ({volumes[second].name}) do not overlap in the patient: "
            f"{first} spans {_span(boxes[first])} and {second} {_span(boxes[second])}, "
            f"{max(float(gap[axis]), 0.0):.1f} mm apart along {('R', 'A', 'S')[axis]}",
            mend="give scans of the same region in one frame of reference, register them first, or label them "
            "separately",
        )


def _span(box: npt.NDArray[np.float64]) -> str:
    parts = (f"{axis} {low:.0f}…{high:.0f}" for axis, low, high in zip("RAS", box[0], box[1], strict=True))
    return " ".join(parts) + " mm"
