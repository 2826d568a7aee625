"""Pixels of frames as they are stored: native ones read in place, encapsulated ones decoded in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BufferedReader

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.reading.decoding.decode import Encapsulated
from cmc_sdk.imaging.dicom.reading.decoding.process import decoded_planes
from cmc_sdk.imaging.dicom.reading.frames import Instance, PixelLayout
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["pixel_dtype", "stored_planes"]

Plane = npt.NDArray[np.integer]
_COPY_AGAIN = "copy it again from its source"


def pixel_dtype(layout: PixelLayout) -> np.dtype[np.integer]:
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
                yield from _encapsulated(instance, indices)
    except OSError as error:
        raise DicomError("damaged", f"{path} cannot be read: {error.strerror or error}", mend=_COPY_AGAIN) from error


def _native(handle: BufferedReader, instance: Instance, indices: Sequence[int]) -> Iterator[Plane]:
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


def _encapsulated(instance: Instance, indices: Sequence[int]) -> Iterator[Plane]:
    layout = instance.layout
    return decoded_planes(
        Encapsulated(
            path=str(instance.path),
            offset=layout.offset,
            file_bytes=instance.file_bytes,
            transfer_syntax=layout.transfer_syntax,
            rows=instance.rows,
            columns=instance.columns,
            number_of_frames=instance.frames,
            bits_allocated=layout.bits_allocated,
            bits_stored=layout.bits_stored,
            pixel_representation=int(layout.signed),
            indices=tuple(indices),
        )
    )
