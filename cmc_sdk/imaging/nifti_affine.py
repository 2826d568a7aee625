"""Where a NIfTI header says that its voxels lie: sform or qform, one rule, and refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.geometry import displacement_mm, extent_mm
from cmc_sdk.imaging.nifti_block import NiftiBlock

__all__ = ["SAME_PLACE", "read_affine"]

# Two forms say the same if no voxel is farther apart than this share of the smallest spacing.
SAME_PLACE = 0.1

_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_MOST_EXTENT_MM = 10_000.0
_SET_ONE_CODE = (
    "find out which one is right, then set the other's code to 0 (nibabel: image.set_qform(None, code=0) or "
    "image.set_sform(None, code=0)) and save"
)


def read_affine(
    header: NiftiBlock, *, size_vox: tuple[int, int, int], path: Path
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """The affine that a header means, voxel index → RAS mm, and notes on the choice (the rule is in `read_volume`).

    Args:
        header: Unchecked.
        size_vox: The grid's size.
        path: What to call it in messages.

    Raises:
        GeometryError: Neither form is set, the chosen one cannot be right, or the two contradict each other.
    """
    unit = _UNIT_MM.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        code = int(header["xyzt_units"]) & 7
        raise GeometryError(
            f"{path}: its unit of length has the code {code}; m, mm, micron and unknown are allowed",
            mend="set the unit in the header (nibabel: image.header.set_xyzt_units('mm')) and save",
        )
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not (has_sform or has_qform):
        raise GeometryError(
            f"{path}: its sform and qform codes are both 0, so it does not say where its voxels lie",
            mend="convert it again from its source, or, if you know its orientation, set an sform with a code above 0 "
            "(nibabel: image.set_sform(affine, code=1)) and save; nothing is guessed",
        )
    if not has_sform:
        return _checked(_qform(header, unit=unit, path=path), "qform", size_vox=size_vox, path=path), ()
    sform = header.get_sform()
    sform[:3] *= unit
    _checked(sform, "sform", size_vox=size_vox, path=path)
    if not has_qform:
        return sform, ()
    try:
        qform = _checked(_qform(header, unit=unit, path=path), "qform", size_vox=size_vox, path=path)
    except GeometryError as error:
        return sform, (f"{error.what}; the sform is used",)
    return sform, _disagreement(sform, qform, size_vox, path=path)


def _qform(header: NiftiBlock, *, unit: float, path: Path) -> npt.NDArray[np.float64]:
    try:
        qform = header.get_qform()
    except ValueError as error:
        raise GeometryError(
            f"{path}: its qform cannot be right ({error})", mend="convert it again from its source"
        ) from error
    qform[:3] *= unit
    return qform


def _checked(
    affine: npt.NDArray[np.float64], which: str, *, size_vox: tuple[int, int, int], path: Path
) -> npt.NDArray[np.float64]:
    mend = "convert it again from its source, or repair its header; the geometry is not guessed"
    if not np.isfinite(affine).all():
        raise GeometryError(f"{path}: its {which} holds NaN or infinite numbers", mend=mend)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise GeometryError(
            f"{path}: its {which} is singular (its voxel axes have lengths {lengths.round(6).tolist()} mm)", mend=mend
        )
    extent = extent_mm(affine, size_vox=size_vox)
    if max(extent) > _MOST_EXTENT_MM:
        raise GeometryError(
            f"{path}: its {which} and unit make it {max(extent) / 1000:.4g} m long; up to 10 m is allowed",
            mend="set the right unit in the header (nibabel: image.header.set_xyzt_units('mm')) and save",
        )
    return affine


def _disagreement(
    sform: npt.NDArray[np.float64], qform: npt.NDArray[np.float64], size_vox: tuple[int, int, int], *, path: Path
) -> tuple[str, ...]:
    """The sform stands where both are set; a note where they differ visibly, a refusal where one mirrors the other."""
    directions = [form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform)]
    cosines = np.sum(directions[0] * directions[1], axis=0)
    if cosines.min() < math.cos(math.radians(45)):
        angle = math.degrees(math.acos(max(-1.0, float(cosines.min()))))
        raise GeometryError(
            f"{path}: its sform and qform turn voxel axis {'xyz'[int(cosines.argmin())]} {angle:.0f}° apart, so "
            "programs would show it mirrored or turned against each other (at most 45° are allowed)",
            mend=_SET_ONE_CODE,
        )
    apart = displacement_mm(sform, qform, size_vox=size_vox)
    if apart <= SAME_PLACE * float(np.linalg.norm(sform[:3, :3], axis=0).min()):
        return ()
    return (f"its sform and qform place voxels up to {apart:.3g} mm apart; the sform is used",)
