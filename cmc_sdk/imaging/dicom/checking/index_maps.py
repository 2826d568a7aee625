"""Maps of a grid's indices onto themselves: the ways in which an object may be mirrored, shifted, turned or swapped.

Each is a (4, 4) matrix that takes the index of a voxel to where a faulty writer would have put it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.volume import Volume

__all__ = ["IndexMap", "faults_of", "lps_to_index"]

_AXES = ("left-right", "anterior-posterior", "superior-inferior")


@dataclass(frozen=True)
class IndexMap:
    """One fault: what to call it, where it puts voxel indices, and which slices stay where they are."""

    name: str
    matrix: npt.NDArray[np.float64]

    def keeps_slice(self, k: int) -> bool:
        """Whether a frame at slice k has the same plane under this map, so that its reference cannot tell."""
        corners = np.array([(i, j, k, 1.0) for i, j in ((0, 0), (1, 0), (0, 1))], dtype=np.float64)
        return bool(np.abs(corners @ self.matrix.T - corners).max() < 1e-3)


def lps_to_index(volume: Volume) -> npt.NDArray[np.float64]:
    """(4, 4), DICOM's patient coordinates in mm → voxel index of `volume`."""
    lps = volume.affine_mm.copy()
    lps[:2] *= -1.0
    return np.asarray(np.linalg.inv(lps), dtype=np.float64)


def faults_of(volume: Volume) -> list[IndexMap]:
    """The faults to look for on the grid of `volume`; those that it cannot have, being too small, are left out."""
    size, patient = volume.size_vox, [_patient_axis(volume, axis) for axis in range(3)]
    maps = []
    for axis in range(3):
        maps.append(IndexMap(f"mirrored {patient[axis]}", _mirror(size, axes=(axis,))))
    maps.append(IndexMap("turned by 180° in the plane", _mirror(size, axes=(0, 1))))
    swap = np.eye(4)[[1, 0, 2, 3]]
    maps.append(IndexMap("transposed (rows for columns)", swap))
    for axis in (2, 1, 0):
        for step in (1, -1):
            shift = np.eye(4)
            shift[axis, 3] = step
            what = "slice" if axis == 2 else ("row" if axis == 1 else "column")
            maps.append(IndexMap(f"off by one {what} ({patient[axis]})", shift))
    between_columns, between_rows, _ = volume.spacing_mm
    ratio = between_rows / between_columns
    maps.append(IndexMap("written with row and column spacing swapped", np.diag((ratio, 1.0 / ratio, 1.0, 1.0))))
    to_index = lps_to_index(volume)
    for signs, name in (
        ((-1, 1, 1), f"mirrored {_AXES[0]}"),
        ((1, -1, 1), f"mirrored {_AXES[1]}"),
        ((1, 1, -1), f"mirrored {_AXES[2]}"),
        ((-1, -1, 1), "turned by 180° about the long axis (RAS taken for LPS)"),
    ):
        negated = to_index @ np.diag((*signs, 1.0)) @ np.linalg.inv(to_index)
        maps.append(IndexMap(f"{name} about the origin of the patient's coordinates", negated))
    for axis in (0, 1):  # a direction reversed, the corner kept
        reversed_ = np.eye(4)
        reversed_[axis, axis] = -1.0
        maps.append(IndexMap(f"mirrored {patient[axis]} about its first pixel", reversed_))
    corners = np.array([(i, j, k, 1.0) for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)])
    return [item for item in maps if np.abs(corners @ item.matrix.T - corners).max() > 1e-3]


def _mirror(size: tuple[int, int, int], *, axes: tuple[int, ...]) -> npt.NDArray[np.float64]:
    matrix = np.eye(4)
    for axis in axes:
        matrix[axis, axis], matrix[axis, 3] = -1.0, size[axis] - 1
    return matrix


def _patient_axis(volume: Volume, axis: int) -> str:
    return _AXES[int(np.abs(volume.affine_mm[:3, axis]).argmax())]
