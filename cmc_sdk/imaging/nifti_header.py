"""The header of a NIfTI file: what is believed, what is refused, and what is kept to be written back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.geometry import displacement_mm
from cmc_sdk.imaging.nifti_affine import SAME_PLACE, read_affine
from cmc_sdk.imaging.nifti_block import NiftiBlock
from cmc_sdk.imaging.volume import Volume

__all__ = ["HEADER_BYTES", "NiftiGeometry", "NiftiHeader", "header_for", "parse_header"]

HEADER_BYTES = 540
_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_REFUSED_DTYPES = {
    1: "1-bit", 32: "complex64", 128: "RGB24", 1536: "float128", 1792: "complex128", 2048: "complex256",
    2304: "RGBA32",
}  # fmt: skip
# Everything in the header that says where the voxels lie, copied bit for bit into what is written on the same grid.
_GEOMETRY_FIELDS = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip


@dataclass(frozen=True)
class NiftiGeometry:
    """The header block of a file as it was read (`Volume.header`), 348 bytes for NIfTI-1 and 540 for NIfTI-2."""

    block: bytes


@dataclass(frozen=True)
class NiftiHeader:
    """What a header says, checked.

    Args:
        size_vox: Voxels along x, y, z.
        dtype: As stored, byte order included.
        offset: Where the voxels start, in bytes.
        slope: True value = stored * slope + intercept.
        intercept: See `slope`.
        affine_mm: (4, 4) voxel index → RAS mm.
        notes: What the user should know of choices that were made.
        geometry: To be kept as `Volume.header`.
    """

    size_vox: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    intercept: float
    affine_mm: npt.NDArray[np.float64]
    notes: tuple[str, ...]
    geometry: NiftiGeometry

    @property
    def data_bytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.size_vox) * self.dtype.itemsize


def parse_header(block: bytes, *, path: Path) -> NiftiHeader:
    """Check the first bytes of a file and take its header apart.

    Args:
        block: The first `HEADER_BYTES` bytes of the decompressed file, or fewer where it is shorter.
        path: What to call it in messages.

    Raises:
        DataError: Not a NIfTI file, truncated, 4-D, or of a voxel type that is not a number per voxel.
        GeometryError: Neither sform nor qform, or one that cannot be right.
    """
    header = _open_block(block, path=path)
    length = len(header.to_bytes())
    offset = float(header["vox_offset"])
    if not (math.isfinite(offset) and offset == int(offset) and offset >= length + 4):
        raise DataError(
            f"{path}: its header puts the voxels at byte {offset:g}, which a single NIfTI file cannot have "
            f"(at least {length + 4})",
            mend="convert it again from its source",
        )
    size = _size(header, path=path)
    slope, intercept = _scaling(header, path=path)
    affine, notes = read_affine(header, size_vox=size, path=path)
    return NiftiHeader(
        size_vox=size,
        dtype=_dtype(header, path=path),
        offset=int(offset),
        slope=slope,
        intercept=intercept,
        affine_mm=affine,
        notes=notes,
        geometry=NiftiGeometry(block[:length]),
    )


def header_for(volume: Volume, *, dtype: np.dtype[np.generic]) -> bytes:
    """Header and extension flag of a file that holds `volume` as `dtype`, little-endian, up to the first voxel.

    A volume that came from a NIfTI file, or lies on the grid of one, gets that file's geometry fields bit for bit;
    nothing else of that file is copied (its free text may name a patient).
    """
    source = _kept_header(volume)
    if source is not None:
        header = NiftiBlock(source.version)
        for name in _GEOMETRY_FIELDS:
            header[name] = source[name]
    else:
        header = NiftiBlock(1)
        wide = max(volume.size_vox) > 32767
        if not wide:
            _set_geometry(header, volume)
            wide = not Volume(volume.stored, header.get_sform()).same_grid(volume)
        if wide:
            # NIfTI-1 holds sizes in 16 bits and positions in 32: what does not fit goes into NIfTI-2.
            header = NiftiBlock(2)
            _set_geometry(header, volume)
    header["dim"] = (3, *volume.size_vox, 1, 1, 1, 1)
    header.set_dtype(dtype)
    header["scl_slope"], header["scl_inter"] = volume.slope, volume.intercept
    header["descrip"] = b"cmc-sdk"
    return header.to_bytes() + b"\0\0\0\0"


def _open_block(block: bytes, *, path: Path) -> NiftiBlock:
    kinds: tuple[tuple[Literal[1, 2], int, int, tuple[bytes, bytes]], ...] = (
        (1, 348, 344, (b"n+1\0", b"ni1\0")),
        (2, 540, 4, (b"n+2\0", b"ni2\0")),
    )
    for version, length, at, magics in kinds:
        # By the header's own length, not by a guess from dim[0], which may be what is wrong.
        if block[:4] not in (length.to_bytes(4, "little"), length.to_bytes(4, "big")):
            continue
        if len(block) < length:
            raise DataError(
                f"{path} is truncated: {len(block)} bytes, less than a header", mend="copy it again from its source"
            )
        magic = block[at : at + 4]
        if magic == magics[1]:
            raise DataError(
                f"{path} is one half of a .hdr/.img pair",
                mend="convert the pair to a single .nii.gz (nibabel: nibabel.save(nibabel.load(path), 'out.nii.gz'))",
            )
        if magic == magics[0]:
            little = block[:4] == length.to_bytes(4, "little")
            return NiftiBlock(version, byte_order="<" if little else ">", content=block[:length])
        if length == 348:
            raise DataError(
                f"{path} is an ANALYZE 7.5 file, whose orientation is not defined",
                mend="convert the original DICOM series to NIfTI instead",
            )
    raise DataError(f"{path} is not a NIfTI file{_looks_like(block)}", mend="give a .nii or .nii.gz file")


def _looks_like(block: bytes) -> str:
    if block[128:132] == b"DICM":
        return " (it is a DICOM file)"
    if block.startswith(b"NRRD"):
        return " (it is an NRRD file)"
    if block.startswith((b"ObjectType", b"NDims")):
        return " (it is a MetaImage header)"
    if block.startswith((b"\0\0\0\x01\0", b"\x89HDF")):
        return " (it is an MGH or HDF5 file)"
    return ""


def _size(header: NiftiBlock, *, path: Path) -> tuple[int, int, int]:
    dims = [int(value) for value in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise DataError(f"{path}: its header has impossible dimensions {dims}", mend="convert it again from its source")
    shape = dims[1 : dims[0] + 1]
    if len(shape) < 3:
        raise DataError(f"{path} is {len(shape)}-D, of shape {tuple(shape)}", mend="give a 3-D volume")
    if math.prod(shape[3:]) != 1:
        raise DataError(
            f"{path} holds {math.prod(shape[3:])} volumes, shape {tuple(shape)}; one 3-D volume is allowed",
            mend="split it, for example with nibabel.four_to_three, and give the one that is meant",
        )
    return (shape[0], shape[1], shape[2])


def _dtype(header: NiftiBlock, *, path: Path) -> np.dtype[np.generic]:
    code = int(header["datatype"])
    if code not in _DTYPES:
        kind = _REFUSED_DTYPES.get(code, f"datatype code {code}")
        raise DataError(
            f"{path} holds {kind} voxels; integers of 8 to 64 bits, float32 and float64 are allowed",
            mend="give the scan itself, one number per voxel, not a colour or complex image of it",
        )
    dtype: np.dtype[np.generic] = np.dtype(header.byte_order + _DTYPES[code])
    return dtype


def _scaling(header: NiftiBlock, *, path: Path) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0.0 or math.isnan(slope):  # the standard's way, and a common writer's, to say "no scaling"
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise DataError(
            f"{path}: its scaling is not finite (slope {slope}, intercept {intercept})",
            mend="convert it again from its source",
        )
    return slope, intercept


def _kept_header(volume: Volume) -> NiftiBlock | None:
    """The header that `volume` came with, if it still says what the volume's affine says."""
    if not isinstance(volume.header, NiftiGeometry) or max(volume.size_vox) > 32767:
        return None
    path = Path(volume.name)
    header = _open_block(volume.header.block, path=path)
    affine, _ = read_affine(header, size_vox=volume.size_vox, path=path)
    return header if np.array_equal(affine, volume.affine_mm) else None


def _set_geometry(header: NiftiBlock, volume: Volume) -> None:
    header.set_affine(volume.affine_mm)
    apart = displacement_mm(header.get_qform(), volume.affine_mm, size_vox=volume.size_vox)
    if apart > SAME_PLACE * min(volume.spacing_mm):
        # A qform cannot hold shear (nor, in 32 bits, every oblique half turn): only the sform says the truth.
        header["qform_code"] = 0
