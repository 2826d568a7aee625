"""The planes of a grid as DICOM says them: a position for each slice, one orientation, one pixel spacing (LPS)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.volume import Volume

__all__ = ["Planes", "planes_of"]

_TO_LPS = np.diag((-1.0, -1.0, 1.0))


@dataclass(frozen=True)
class Planes:
    """Geometry of the slices of a volume whose array is indexed (column, row, slice).

    Args:
        matrix_mm: (3, 4), index (column, row, slice, 1) → LPS.
        positions_mm: (slices, 3), LPS of the first pixel of each slice.
        orientation: Direction in which the column index grows, then that of the row index: six cosines.
        pixel_spacing_mm: Between rows, then between columns.
        slice_spacing_mm: Between slices, along their normal.
    """

    matrix_mm: npt.NDArray[np.float64]
    positions_mm: npt.NDArray[np.float64]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float


def planes_of(volume: Volume) -> Planes:
    """The planes of `volume`; a shear between slices (gantry tilt) is kept, since each plane has its own position.

    Raises:
        GeometryError: Rows and columns are not at right angles: no DICOM plane can hold them.
    """
    matrix = _TO_LPS @ volume.affine_mm[:3]
    across, down = matrix[:, 0], matrix[:, 1]
    width, height = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    across, down = across / width, down / height
    if abs(float(across @ down)) > 1e-4:
        raise GeometryError(
            f"{volume.name}: rows and columns meet at {np.degrees(np.arccos(across @ down)):.2f}°, and DICOM planes "
            "have right angles",
            mend="resample the volume to a grid whose rows and columns are at right angles",
        )
    normal = np.cross(across, down)
    slices = np.arange(volume.size_vox[2], dtype=np.float64)
    positions = matrix[:, 3] + slices[:, None] * matrix[:, 2]
    return Planes(
        matrix_mm=matrix,
        positions_mm=positions + 0.0,
        orientation=tuple(float(value) for value in (*(across + 0.0), *(down + 0.0))),
        pixel_spacing_mm=(height, width),
        slice_spacing_mm=abs(float(normal @ matrix[:, 2])),
    )
