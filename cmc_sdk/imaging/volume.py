"""A scan or a label map: an array, and where each of its voxels lies in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import GeometryError

__all__ = ["Volume"]


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D array on a grid in patient space.

    Args:
        stored: Voxels as they are stored, shape (X, Y, Z), any integer or floating dtype.
        affine_mm: (4, 4) float64, voxel index (i, j, k, 1) → RAS position in mm of the voxel's centre. Finite and
            invertible; shear and left-handed grids are allowed and kept.
        slope: True value = stored * slope + intercept.
        intercept: See `slope`.
        name: What to call it in messages, usually the file's path.
        header: Geometry of the file that it came from, kept so that a label on this grid is written with the same
            geometry bit for bit; opaque outside the reader that made it.
        notes: What the reader wants the user to know, for example that sform and qform differ and which was used;
            without the file's name, since a run record lists them as warnings.
        frame_of_reference_uid: Which frame of reference the grid lies in, as the file says; None where it names none,
            as no NIfTI file does.
        interpolated_slices: Indices along the third axis of slices that lie where the scanner left one out: what they
            hold was interpolated over a gap, so that nothing that is found there was seen.

    Raises:
        GeometryError: Not 3-D, an empty axis, or an affine that is not finite, not invertible or not affine.
    """

    stored: npt.NDArray[Any]
    affine_mm: npt.NDArray[np.float64]
    slope: float = 1.0
    intercept: float = 0.0
    name: str = "volume"
    header: object = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    frame_of_reference_uid: str | None = None
    interpolated_slices: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        affine = np.array(self.affine_mm, dtype=np.float64)
        if self.stored.ndim != 3 or 0 in self.stored.shape:
            raise GeometryError(
                f"{self.name}: an array of shape {self.stored.shape} is not a 3-D volume",
                mend="give one volume of shape (X, Y, Z); split 4-D series into volumes first",
            )
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"{self.name}: its affine is not a finite 4×4 matrix", mend="repair the file's header")
        if not np.array_equal(affine[3], (0.0, 0.0, 0.0, 1.0)):
            raise GeometryError(
                f"{self.name}: the last row of its affine is not (0, 0, 0, 1)", mend="repair the header"
            )
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
            raise GeometryError(
                f"{self.name}: its affine is singular (column lengths {lengths.round(6).tolist()} mm)",
                mend="repair the file's header; the geometry is not guessed",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "affine_mm", affine)

    @property
    def data(self) -> npt.NDArray[Any]:
        """True values, shape (X, Y, Z): `stored` itself where scaling is the identity, else a float32 copy."""
        if self.slope == 1.0 and self.intercept == 0.0:
            return self.stored
        return self.true_values(self.stored)

    @property
    def size_vox(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        x, y, z = self.stored.shape
        return (x, y, z)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along each axis."""
        x, y, z = np.linalg.norm(self.affine_mm[:3, :3], axis=0)
        return (float(x), float(y), float(z))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres, from the determinant, so that shear is counted right."""
        return float(abs(np.linalg.det(self.affine_mm[:3, :3]))) / 1000.0

    def true_values(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """A part of `stored` as float32 true values; a copy."""
        values = stored.astype(np.float32)
        if self.slope != 1.0:
            values *= np.float32(self.slope)
        if self.intercept != 0.0:
            values += np.float32(self.intercept)
        return values

    def same_grid(self, other: Volume, *, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same size, and all corners coincide within `tolerance_mm`."""
        if self.size_vox != other.size_vox:
            return False
        x, y, z = (float(size - 1) for size in self.size_vox)
        corners = np.array([(i, j, k, 1.0) for i in (0.0, x) for j in (0.0, y) for k in (0.0, z)]).T
        return bool(np.abs((self.affine_mm - other.affine_mm) @ corners).max() <= tolerance_mm)

    def with_array(self, array: npt.NDArray[Any], *, name: str | None = None) -> Volume:
        """Another array on the same grid in the same frame, with scaling of 1 and the same file geometry."""
        return replace(self, stored=array, slope=1.0, intercept=0.0, name=name or self.name, notes=())
