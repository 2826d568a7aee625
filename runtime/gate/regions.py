"""Where label maps differ: connected pieces of flipped voxels, and how far they lie from the reference's surface."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.core import surface_distances

__all__ = ["ClassFlips", "FlippedRegion", "locate_flips"]

_DIAGONAL = math.sqrt(3.0) + 1e-9
"""In voxels: a whole-numbered offset is this short exactly if it is at most one voxel along every axis."""


@dataclass(frozen=True)
class FlippedRegion:
    """Flipped voxels of one class that hang together through faces.

    Args:
        size_vox: How many.
        index: The one of them that lies farthest from the reference's surface of the class, as a voxel index.
        ras_mm: Where that is in the patient.
        distance_mm: How far, along the grid's axes; infinite where the reference lacks the class.
    """

    size_vox: int
    index: tuple[int, int, int]
    ras_mm: tuple[float, float, float]
    distance_mm: float

    def describe(self) -> str:
        """Size, place and distance in words."""
        place = ", ".join(map(str, self.index))
        position = ", ".join(f"{value:.1f}" for value in self.ras_mm)
        voxels = "1 voxel" if self.size_vox == 1 else f"{self.size_vox} voxels"
        known = math.isfinite(self.distance_mm)
        far = f"{self.distance_mm:.1f} mm from the reference's surface" if known else "which the reference lacks"
        return f"{voxels} at index ({place}), RAS ({position}) mm, {far}"

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON, which has no infinity: null."""
        far = self.distance_mm if math.isfinite(self.distance_mm) else None
        return {**asdict(self), "distance_mm": far}


@dataclass(frozen=True)
class ClassFlips:
    """Where one class differs.

    Args:
        largest: The region of the most voxels; of equal ones the first in memory.
        farthest: The region that reaches farthest from the reference's surface.
        beyond_vox: Flipped voxels farther from it than one voxel along any axis.
    """

    largest: FlippedRegion
    farthest: FlippedRegion
    beyond_vox: int


def locate_flips(
    reference: npt.NDArray[np.uint8],
    label: int,
    *,
    points: npt.NDArray[np.int64],
    affine_mm: npt.NDArray[np.float64],
) -> ClassFlips | None:
    """Where one class differs from the reference; None without a flipped voxel.

    Args:
        reference: (X, Y, Z), the reference's labels.
        label: The class.
        points: (N, 3), in C order: the voxels that exactly one of the two maps gives to the class.
        affine_mm: (4, 4), voxel index → RAS mm.
    """
    if not len(points):
        return None
    x, y, z = (float(step) for step in np.linalg.norm(affine_mm[:3, :3], axis=0))
    far_mm = surface_distances(reference, label, points=points, spacing=(x, y, z))
    far_vox = surface_distances(reference, label, points=points)
    root = _pieces(points, shape=reference.shape)
    sizes = np.bincount(root, minlength=len(points))

    def region(piece: int) -> FlippedRegion:
        members = np.flatnonzero(root == piece)
        place = int(members[np.argmax(far_mm[members])])
        i, j, k = (int(value) for value in points[place])
        r, a, s = (float(value) for value in affine_mm[:3, :3] @ points[place] + affine_mm[:3, 3])
        return FlippedRegion(int(sizes[piece]), (i, j, k), (r, a, s), float(far_mm[place]))

    return ClassFlips(
        largest=region(int(np.argmax(sizes))),
        farthest=region(int(root[np.argmax(far_mm)])),
        beyond_vox=int(np.count_nonzero(far_vox > _DIAGONAL)),
    )


def _pieces(points: npt.NDArray[np.int64], *, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """(N,): of each point, the first point of the 6-connected piece that it belongs to; points come in C order."""
    place = np.ravel_multi_index((points[:, 0], points[:, 1], points[:, 2]), shape)
    pairs = []
    for axis, step in enumerate((shape[1] * shape[2], shape[2], 1)):
        follows = np.searchsorted(place, place + step)
        there = (follows < len(place)) & (points[:, axis] + 1 < shape[axis])
        mine = np.flatnonzero(there)
        mine = mine[place[follows[mine]] == place[mine] + step]
        pairs.append(np.stack((mine, follows[mine])))
    first, second = np.concatenate(pairs, axis=1)
    parent = np.arange(len(points))
    while True:
        a, b = parent[first], parent[second]
        apart = a != b
        if not apart.any():
            return parent
        np.minimum.at(parent, np.maximum(a, b)[apart], np.minimum(a, b)[apart])
        while not np.array_equal(parent[parent], parent):
            parent = parent[parent]
