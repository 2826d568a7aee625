"""Pixels of frames as they are stored: native ones read in place, encapsulated ones through pydicom's decoders."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.codestream import codestream_size
from cmc_sdk.imaging.dicom.frames import Instance, PixelLayout
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["pixel_dtype", "stored_planes"]

Plane = npt.NDArray[Any]
_COPY_AGAIN = "copy it again from its source"


def pixel_dtype(layout: PixelLayout) -> np.dtype[Any]:
    """Of the stored pixels, in this machine's byte order."""
    return np.dtype(f"{'i' if layout.signed else 'u'}{layout.bits_allocated // 8}")


def stored_planes(instance: Instance, indices: Sequence[int]) -> Iterator[Plane]:
    """The planes `indices` of one instance, each (rows, columns) of `pixel_dtype`, in that order.

    Args:
        instance: The file; its header has been checked.
        indices: Frames, from 0, ascending.

    Raises:
        DicomError: The file is not as it was, or cannot be decoded.
    """
    path = instance.path
    try:
        with open(path, "rb") as handle:
            if handle.seek(0, 2) != instance.file_bytes:
                raise DicomError("changed", f"{path} changed since it was scanned", mend="scan it again")
            if instance.layout.length is not None:
                yield from _native(handle, instance, indices)
            else:
                yield from _encapsulated(handle, instance, indices)
    except OSError as error:
        raise DicomError("damaged", f"{path} cannot be read: {error.strerror or error}", mend=_COPY_AGAIN) from error


def _native(handle: Any, instance: Instance, indices: Sequence[int]) -> Iterator[Plane]:
    layout = instance.layout
    dtype = pixel_dtype(layout)
    stored = dtype.newbyteorder("<" if layout.little_endian else ">")
    count = instance.rows * instance.columns
    for index in indices:
        plane: Plane = np.empty((instance.rows, instance.columns), dtype=stored)
        handle.seek(layout.offset + index * count * dtype.itemsize)
        if handle.readinto(plane.data) != plane.nbytes:
            raise DicomError("damaged", f"{instance.path} is truncated", mend=_COPY_AGAIN)
        yield plane if stored.isnative else plane.byteswap(inplace=True).view(dtype)


def _encapsulated(handle: Any, instance: Instance, indices: Sequence[int]) -> Iterator[Plane]:
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    layout, path = instance.layout, instance.path
    uid = UID(layout.transfer_syntax)
    with _named(path, f"its pixels ({uid.name}) cannot be decoded"):
        decoder = get_decoder(uid)
        if not decoder.is_available:
            raise DicomError(
                "decoder",
                f"{path}: no decoder for {uid.name} is installed",
                mend="install pylibjpeg-openjpeg, pyjpegls, pylibjpeg-rle and python-gdcm, which cmc-sdk depends on",
            )
        handle.seek(layout.offset)
        data = handle.read(instance.file_bytes - layout.offset)
        options: dict[str, Any] = {
            "rows": instance.rows,
            "columns": instance.columns,
            "number_of_frames": instance.frames,
            "samples_per_pixel": 1,
            "bits_allocated": layout.bits_allocated,
            "bits_stored": layout.bits_stored,
            "pixel_representation": int(layout.signed),
            "photometric_interpretation": "MONOCHROME2",
            "pixel_keyword": "PixelData",
            "pixel_vr": "OB",
        }
        # Before anything is decoded: a code stream may claim another size than the header, and its decoder believes it.
        for stream in generate_frames(data, number_of_frames=instance.frames):
            size = codestream_size(stream)
            if size is not None and size != (instance.rows, instance.columns):
                raise DicomError(
                    "decoder",
                    f"{path}: its pixels are coded as {size[1]}×{size[0]} and announced as "
                    f"{instance.columns}×{instance.rows}",
                    mend=_COPY_AGAIN,
                )
        planes = decoder.iter_array(data, indices=list(indices), raw=True, validate=False, **options)
        for index in indices:
            plane, _ = next(planes)
            yield _as_stored(plane, instance=instance, index=index)


def _as_stored(plane: Plane, *, instance: Instance, index: int) -> Plane:
    dtype = pixel_dtype(instance.layout)
    if plane.shape != (instance.rows, instance.columns) or plane.dtype.kind not in "iu":
        raise DicomError(
            "decoder",
            f"{instance.path}: frame {index + 1} was decoded as {plane.dtype} of shape {plane.shape}",
            mend=_COPY_AGAIN,
        )
    if plane.dtype == dtype:
        return plane
    if plane.dtype.itemsize == dtype.itemsize:
        return plane.view(dtype)
    return plane.astype(dtype)


@contextlib.contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """Whatever a decoder raises or prints becomes one named refusal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DicomError, GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise DicomError("decoder", f"{path}: {what} ({reason})", mend=_COPY_AGAIN) from error
