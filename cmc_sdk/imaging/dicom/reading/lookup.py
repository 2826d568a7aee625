"""True values of planes whose scaling is their own: a rescale a frame, or a modality lookup table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.quiet import quiet_pydicom
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.frames import Frame
from cmc_sdk.imaging.dicom.reading.header import read_header
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["true_values"]


def true_values(plane: npt.NDArray[np.integer], *, frame: Frame) -> npt.NDArray[np.float32]:
    """`plane` as float32 true values.

    Raises:
        DicomError: A lookup table that cannot be right, or values beyond 32-bit floats.
    """
    if frame.scaling.lookup:
        first, table = _table(frame)
        return table[np.clip(plane.astype(np.int64) - first, 0, len(table) - 1)]
    values = plane.astype(np.float64) * frame.scaling.slope + frame.scaling.intercept
    if np.abs(values).max() > np.finfo(np.float32).max:
        raise DicomError("rescale", f"{frame.instance.path}: its values exceed 32-bit floats", mend="convert it again")
    return values.astype(np.float32)


def _table(frame: Frame) -> tuple[int, npt.NDArray[np.float32]]:
    """First mapped value, and the table (PS3.3 C.11.1.1): 0 entries mean 65,536."""
    instance = frame.instance
    with quiet_pydicom():
        header = read_header(instance.path, limits=DicomLimits())
    item = None if header is None else header.attributes.first("ModalityLUTSequence")
    if header is not None and item is not None:
        descriptor = item.shorts("LUTDescriptor")
        if len(descriptor) == 3:
            count = descriptor[0] or 65536
            first = item.shorts("LUTDescriptor", signed=instance.layout.signed)[1]
            kind = np.dtype("u1" if descriptor[2] <= 8 and len(item.raw("LUTData")) == count else "u2")
            data = np.frombuffer(item.raw("LUTData"), dtype=kind.newbyteorder("<" if header.little_endian else ">"))
            if len(data) >= count:
                return first, data[:count].astype(np.float32)
    raise DicomError(
        "rescale",
        f"{instance.path}: its modality lookup table cannot be right",
        mend="convert it from its source again",
    )
