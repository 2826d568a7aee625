"""NIfTI files in and out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.labels import as_labels
from cmc_sdk.imaging.nifti_header import HEADER_BYTES, NiftiHeader, header_for, parse_header
from cmc_sdk.imaging.nifti_stream import ByteStream, open_bytes, write_bytes
from cmc_sdk.imaging.volume import Volume

__all__ = ["read_nifti", "write_volume"]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def read_nifti(path: str | os.PathLike[str], *, label: bool = False) -> Volume:
    """Read one 3-D volume from a NIfTI-1 or NIfTI-2 file, `.nii` or `.nii.gz` (by its content, not by its name).

    Geometry: the sform if its code is above 0, else the qform if its code is above 0, else the file is refused.
    Where both are set and differ, the sform is used (registration tools put the newer position there, and nibabel,
    FSL and SPM do the same) and `Volume.notes` says so, unless an axis points more than 45° elsewhere: then one of
    them mirrors or turns the scan, nobody can tell which, and the file is refused. Lengths in m or micron become mm;
    an unknown unit is taken as mm. Axes are neither permuted nor flipped.

    Voxels are decompressed straight into the final array, which is the only copy; they keep the file's dtype (in
    native byte order), with its scaling in `slope` and `intercept`. Dimensions of 1 after the third are dropped.

    Args:
        path: The file.
        label: It is a label map: scaling is applied and values within 1e-3 of an integer in 0 … 255 become uint8.

    Raises:
        DataError: Missing, truncated, damaged, not NIfTI, more than one volume, colour or complex voxels, NaN or
            infinite voxels, or (with `label`) values that are no class indices.
        GeometryError: No sform or qform, a singular or non-finite one, two that contradict each other, or a length of
            more than 10 m.
    """
    file = Path(path)
    with open_bytes(file) as stream:
        block = np.empty(HEADER_BYTES, dtype=np.uint8)
        start = block[: stream.fill(block.data)].tobytes()
        header = parse_header(start, path=file)
        stored = _read_voxels(stream, header, start=start, path=file)
        stream.finish()
    _check_finite(stored, slope=header.slope, intercept=header.intercept, path=file)
    volume = Volume(
        stored,
        header.affine_mm,
        slope=header.slope,
        intercept=header.intercept,
        name=str(path),
        header=header.geometry,
        notes=header.notes,
    )
    return as_labels(volume) if label else volume


def write_volume(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write `volume` as `.nii` or `.nii.gz`, whole or not at all; equal volumes give equal bytes.

    A volume on the grid of a NIfTI file (`Volume.with_array`) gets that file's geometry bit for bit: sform, qform,
    their codes, pixdim with qfac, units, and NIfTI-1 or -2. Any other volume gets its affine as sform, and as qform
    too where a qform can hold it (no shear), both with code 1 (scanner), in mm. Voxels are written as they are
    stored, bool as uint8 and float16 as float32, with their slope and intercept.

    Args:
        volume: What to write.
        path: Ends in `.nii` or `.nii.gz`; its folder must exist; an existing file is replaced.

    Raises:
        InputError: Another suffix, a missing folder, or voxels that NIfTI cannot hold.
        ResourceError: The disk is full or the folder cannot be written.
    """
    final = Path(path)
    name = final.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{final}: a NIfTI file ends in .nii or .nii.gz", mend="choose such a name")
    array, slope = volume.stored, (volume.slope, volume.intercept)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise InputError(
            f"{volume.name}: voxels of type {array.dtype} cannot be written to {final}",
            mend="convert them to uint8, int16 or float32",
        )
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    header = header_for(replace(volume, stored=array, slope=slope[0], intercept=slope[1]), dtype=array.dtype)
    with atomic_file(final) as temporary:
        write_bytes(temporary, header=header, array=array, compressed=name.endswith(".gz"))


def _read_voxels(stream: ByteStream, header: NiftiHeader, *, start: bytes, path: Path) -> npt.NDArray[np.generic]:
    needed = header.offset + header.data_bytes
    if needed > stream.most_bytes:  # before memory is asked for: a wrong header may claim terabytes
        raise _truncated(path, needed=needed, found=None)
    early = np.frombuffer(start[header.offset :], dtype=np.uint8)  # voxels may begin inside the bytes read so far
    to_skip = max(0, header.offset - len(start))
    while to_skip:
        skipped = stream.fill(memoryview(bytearray(min(to_skip, 1 << 20))))
        if not skipped:
            raise _truncated(path, needed=needed, found=header.offset - to_skip)
        to_skip -= skipped
    flat = np.empty(header.data_bytes, dtype=np.uint8)
    known = min(len(early), len(flat))
    flat[:known] = early[:known]
    read = known + stream.fill(flat[known:].data)
    if read < len(flat):
        raise _truncated(path, needed=needed, found=header.offset + read)
    stored = flat.view(header.dtype)
    if not header.dtype.isnative:
        stored = stored.byteswap(inplace=True).view(header.dtype.newbyteorder("="))
    return stored.reshape(header.size_vox, order="F")


def _truncated(path: Path, *, needed: int, found: int | None) -> DataError:
    held = "cannot hold them" if found is None else f"holds {found}"
    return DataError(
        f"{path} is truncated: its header announces {needed} bytes and it {held}", mend="copy it again from its source"
    )


def _check_finite(stored: npt.NDArray[np.generic], *, slope: float, intercept: float, path: Path) -> None:
    """Refuse voxels that are not finite as float32, which is what everything after computes in; slab by slab."""
    if stored.dtype.kind != "f":
        return
    most = (_FLOAT32_MAX - abs(intercept)) / max(abs(slope), 1.0)
    count, first = 0, None
    for k in range(stored.shape[2]):
        bad = ~(np.abs(stored[:, :, k]) <= most)
        if bad.any():
            count += int(bad.sum())
            if first is None:
                i, j = (int(index) for index in np.argwhere(bad)[0])
                first = (i, j, k)
    if first is not None:
        raise DataError(
            f"{path}: {count} of {stored.size} voxels are NaN, infinite or beyond 32-bit floats, "
            f"the first at voxel {first} ({stored[first]})",
            mend="find out where they come from, and replace them before giving the file (a tool's mask, for example, "
            "by the background value)",
        )
