"""Which way the voxel axes of a grid run through the patient."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.volume import Volume

__all__ = ["AxisOrder", "axis_codes", "nearest_ras", "nearest_rotation", "reorient", "reoriented_affine"]

_POSITIVE, _NEGATIVE = "RAS", "LPI"


@dataclass(frozen=True)
class AxisOrder:
    """How to turn an array to the nearest RAS order by permuting and flipping its axes, never by rotating.

    Args:
        source_axis: For each of R, A, S, the voxel axis that runs nearest to it.
        flipped: For each of R, A, S, whether that voxel axis runs against it.
    """

    source_axis: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]


def nearest_rotation(affine_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The orthogonal (3, 3) matrix nearest to the voxel axes' directions: spacing and shear taken out (polar factor).

    Its determinant is -1 for a left-handed grid. Columns are voxel axes, rows are R, A, S.
    """
    matrix = np.asarray(affine_mm, dtype=np.float64)[:3, :3]
    directions = matrix / np.linalg.norm(matrix, axis=0)
    left, _, right = np.linalg.svd(directions)
    return np.asarray(left @ right, dtype=np.float64)


def nearest_ras(affine_mm: npt.ArrayLike) -> AxisOrder:
    """The permutation and flips that bring a grid's axes nearest to RAS.

    Among the six assignments of voxel axes to R, A and S, the one with the largest sum of |cosines| wins; where two
    are equal within 1e-9 (an axis at exactly 45°) the first in lexicographic order does, so that the choice never
    hangs on rounding.
    """
    cosines = nearest_rotation(affine_mm)
    best, best_score = (0, 1, 2), -1.0
    for order in permutations((0, 1, 2)):
        score = sum(abs(cosines[axis, source]) for axis, source in enumerate(order))
        if score > best_score + 1e-9:
            best, best_score = (order[0], order[1], order[2]), score
    right, anterior, superior = (bool(cosines[axis, source] < 0) for axis, source in enumerate(best))
    return AxisOrder(best, (right, anterior, superior))


def axis_codes(affine_mm: npt.ArrayLike) -> str:
    """The patient direction that each voxel axis points to, for example "LPS" or "RAS"."""
    order = nearest_ras(affine_mm)
    codes = ["", "", ""]
    for axis, (source, flipped) in enumerate(zip(order.source_axis, order.flipped, strict=True)):
        codes[source] = (_NEGATIVE if flipped else _POSITIVE)[axis]
    return "".join(codes)


def reoriented_affine(
    affine_mm: npt.ArrayLike, *, size_vox: tuple[int, int, int], order: AxisOrder
) -> npt.NDArray[np.float64]:
    """The affine of an array of `size_vox` after `order` has permuted and flipped its axes."""
    affine = np.asarray(affine_mm, dtype=np.float64)
    turned = np.eye(4)
    turned[:3, 3] = affine[:3, 3]
    for axis, (source, flipped) in enumerate(zip(order.source_axis, order.flipped, strict=True)):
        column = affine[:3, source]
        turned[:3, axis] = -column if flipped else column
        if flipped:
            turned[:3, 3] += column * (size_vox[source] - 1)
    return turned


def reorient(volume: Volume, *, order: AxisOrder | None = None) -> Volume:
    """`volume` with its axes permuted and flipped, by default to the nearest RAS; a view, no voxel is copied."""
    order = order or nearest_ras(volume.affine_mm)
    stored: npt.NDArray[np.generic] = volume.stored.transpose(order.source_axis)
    stored = stored[tuple(slice(None, None, -1 if flipped else 1) for flipped in order.flipped)]
    affine = reoriented_affine(volume.affine_mm, size_vox=volume.size_vox, order=order)
    return Volume(stored, affine, slope=volume.slope, intercept=volume.intercept, name=volume.name)
