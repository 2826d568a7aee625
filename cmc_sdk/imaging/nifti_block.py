"""The fixed header of NIfTI-1 and NIfTI-2, field by field, and the two ways in which it states an affine.

Written out here, after the two published header structures, because every command that labels a scan reads one: the
library that tests compare with takes longer to import than a small network takes to label a window.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["NiftiBlock"]

Affine = npt.NDArray[np.float64]
Version = Literal[1, 2]

# Name and type in the order of the structure; a number is the length of an array or a text.
_FIELDS: dict[Version, str] = {
    1: "sizeof_hdr:i4 data_type:S10 db_name:S18 extents:i4 session_error:i2 regular:S1 dim_info:u1 dim:i2*8 "
    "intent_p1:f4 intent_p2:f4 intent_p3:f4 intent_code:i2 datatype:i2 bitpix:i2 slice_start:i2 pixdim:f4*8 "
    "vox_offset:f4 scl_slope:f4 scl_inter:f4 slice_end:i2 slice_code:u1 xyzt_units:u1 cal_max:f4 cal_min:f4 "
    "slice_duration:f4 toffset:f4 glmax:i4 glmin:i4 descrip:S80 aux_file:S24 qform_code:i2 sform_code:i2 "
    "quatern_b:f4 quatern_c:f4 quatern_d:f4 qoffset_x:f4 qoffset_y:f4 qoffset_z:f4 srow_x:f4*4 srow_y:f4*4 "
    "srow_z:f4*4 intent_name:S16 magic:S4",
    2: "sizeof_hdr:i4 magic:S4 eol_check:u1*4 datatype:i2 bitpix:i2 dim:i8*8 intent_p1:f8 intent_p2:f8 intent_p3:f8 "
    "pixdim:f8*8 vox_offset:i8 scl_slope:f8 scl_inter:f8 cal_max:f8 cal_min:f8 slice_duration:f8 toffset:f8 "
    "slice_start:i8 slice_end:i8 descrip:S80 aux_file:S24 qform_code:i4 sform_code:i4 quatern_b:f8 quatern_c:f8 "
    "quatern_d:f8 qoffset_x:f8 qoffset_y:f8 qoffset_z:f8 srow_x:f8*4 srow_y:f8*4 srow_z:f8*4 slice_code:i4 "
    "xyzt_units:i4 intent_code:i4 intent_name:S16 dim_info:u1 unused_str:S15",
}
_BYTES: dict[Version, int] = {1: 348, 2: 540}
_ROWS = ("srow_x", "srow_y", "srow_z")
_OFFSETS = ("qoffset_x", "qoffset_y", "qoffset_z")
_QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
_MM = 2


def _layout(version: Version, byte_order: str) -> np.dtype[np.generic]:
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    for field in _FIELDS[version].split():
        name, _, kind = field.partition(":")
        word, _, count = kind.partition("*")
        fields.append((name, byte_order + word, (int(count),)) if count else (name, byte_order + word))
    return np.dtype(fields)


class NiftiBlock:
    """One header; fields are read and set by their name in the standard.

    Args:
        version: 1 or 2.
        byte_order: `<` or `>`.
        content: 348 or 540 bytes, unchecked; None for an empty header of voxels in float32 with spacing 1.
    """

    def __init__(self, version: Version, *, byte_order: Literal["<", ">"] = "<", content: bytes | None = None) -> None:
        self.version, self.byte_order = version, byte_order
        dtype = _layout(version, byte_order)
        if content is not None:
            self._fields = np.frombuffer(content, dtype=dtype, count=1).copy().reshape(())
            return
        self._fields = np.zeros((), dtype=dtype)
        self["sizeof_hdr"], self["magic"] = _BYTES[version], b"n+1" if version == 1 else b"n+2"
        if version == 2:
            self["eol_check"] = (13, 10, 26, 10)
        self["dim"] = (0, 1, 1, 1, 1, 1, 1, 1)
        self["pixdim"] = 1
        self["scl_slope"] = 1
        self["vox_offset"] = self.data_offset
        self.set_dtype(np.dtype(np.float32))

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._fields[name] = value

    @property
    def data_offset(self) -> int:
        """Where the voxels of a single file start: behind the header and four bytes that announce no extension."""
        return _BYTES[self.version] + 4

    def to_bytes(self) -> bytes:
        """The header as it stands in a file."""
        content: bytes = self._fields.tobytes()
        return content

    def set_dtype(self, dtype: np.dtype[np.generic]) -> None:
        """State the voxels' type, an integer of 8 to 64 bits or a float of 32 or 64."""
        codes = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
        self["datatype"] = codes[dtype.str[1:]]
        self["bitpix"] = 8 * dtype.itemsize

    def get_sform(self) -> Affine:
        """The affine that the three rows state, whatever `sform_code` says."""
        affine = np.eye(4)
        for row, name in enumerate(_ROWS):
            affine[row] = self[name]
        return affine

    def get_qform(self) -> Affine:
        """The affine that quaternion, spacings and offsets state, whatever `qform_code` says.

        Rotation of the unit quaternion (a, b, c, d) with a ≥ 0, times the spacings, the third one times qfac.

        Raises:
            ValueError: b, c, d are longer than 1, a spacing is negative, or qfac is not 1 or -1 (or 0, read as 1).
        """
        b, c, d = (np.longdouble(self[name]) for name in _QUATERNION)
        rest = 1 - (b * b + c * c + d * d)
        # As exact as the fields are: a half turn has a = 0, and rounding must not make it a refusal.
        if abs(rest) < 3 * np.finfo(self["quatern_b"].dtype).eps:
            rest = np.longdouble(0)
        if not rest >= 0:
            raise ValueError(f"its quaternion ({b:.4g}, {c:.4g}, {d:.4g}) is longer than 1")
        spacing = np.array(self["pixdim"][1:4], dtype=np.longdouble)
        if (spacing < 0).any():
            raise ValueError(f"its spacings {spacing.tolist()} are negative")
        qfac = float(self["pixdim"][0])
        if qfac not in (-1.0, 0.0, 1.0):
            raise ValueError(f"its qfac is {qfac:g}, not 1 or -1")
        spacing[2] *= qfac or 1.0
        a = np.sqrt(rest)
        # Divided by the length that rounding has left it, so that axes of whole numbers come out as whole numbers.
        twice = 2 / (a * a + b * b + c * c + d * d)
        rotation = np.array(
            [
                [1 - twice * (c * c + d * d), twice * (b * c - a * d), twice * (b * d + a * c)],
                [twice * (b * c + a * d), 1 - twice * (b * b + d * d), twice * (c * d - a * b)],
                [twice * (b * d - a * c), twice * (c * d + a * b), 1 - twice * (b * b + c * c)],
            ]
        )
        affine = np.eye(4)
        affine[:3, :3] = rotation * spacing
        affine[:3, 3] = [self[name] for name in _OFFSETS]
        return affine

    def set_affine(self, affine_mm: Affine) -> None:
        """State an affine, voxel index → RAS mm, in both forms with code 1 (scanner).

        The quaternion holds no shear: of a sheared affine it gets the nearest rotation, by polar decomposition.
        """
        self["xyzt_units"] = _MM
        self["sform_code"] = self["qform_code"] = 1
        for row, name in enumerate(_ROWS):
            self[name] = affine_mm[row]
        spacing = np.linalg.norm(affine_mm[:3, :3], axis=0)
        directions = affine_mm[:3, :3] / spacing
        qfac = 1.0 if np.linalg.det(directions) > 0 else -1.0
        directions[:, 2] *= qfac
        left, _, right = np.linalg.svd(directions)
        self["pixdim"][:4] = (qfac, *spacing)
        for name, value in zip(_QUATERNION, _quaternion(left @ right)[1:], strict=True):
            self[name] = value
        for name, value in zip(_OFFSETS, affine_mm[:3, 3], strict=True):
            self[name] = value


def _quaternion(rotation: Affine) -> Affine:
    """The unit quaternion (a, b, c, d) with a ≥ 0 of a rotation matrix.

    Every product of two components is a sum of entries of the matrix; the row of the largest one is well conditioned.
    """
    r = rotation
    products = np.array(
        [
            [1 + r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], 1 + r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], 1 - r[0, 0] + r[1, 1] - r[2, 2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], 1 - r[0, 0] - r[1, 1] + r[2, 2]],
        ]
    )
    row = products[int(np.argmax(np.diag(products)))]
    quaternion: Affine = row / np.linalg.norm(row)
    return -quaternion if quaternion[0] < 0 else quaternion
