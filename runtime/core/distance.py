"""How far voxels lie from the surface of a class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.core import _native

__all__ = ["surface_distances"]


def surface_distances(
    labels: npt.NDArray[np.uint8],
    label: int,
    *,
    points: npt.NDArray[np.int64],
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> npt.NDArray[np.float64]:
    """Distance from the centre of each point to the nearest surface voxel of a class, exact.

    A surface voxel has the label and touches, through a face, a voxel that has not, or the border of the volume. The
    axes are taken to be orthogonal; on a sheared grid the distance is along the grid's own axes.

    Args:
        labels: (X, Y, Z).
        label: Of the class, 0 to 255.
        points: (N, 3), voxel indices.
        spacing: Along the axes; in mm for a distance in mm, left out for one in voxels.

    Returns:
        (N,), in the unit of `spacing`; infinite where no voxel has the label.

    Raises:
        ValueError: A point outside the volume, or a spacing that is not above 0.
    """
    squared = _native.squared_surface_distances(labels, label, spacing, np.ascontiguousarray(points, np.int64))
    return np.sqrt(squared)
