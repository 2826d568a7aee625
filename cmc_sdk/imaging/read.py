"""One door for scans: NIfTI or DICOM, by what lies there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from cmc_sdk.imaging.labels import as_labels
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume

__all__ = ["read_volume"]


def read_volume(
    path: str | os.PathLike[str],
    *,
    label: bool = False,
    series: str | None = None,
    irregular: Literal["refuse", "resample"] = "refuse",
) -> Volume:
    """Read one 3-D volume from a NIfTI file, or from a DICOM file, folder, DICOMDIR or zip.

    Which of them it is, is seen by content; a folder is taken as DICOM. See `read_nifti` of `cmc_sdk.imaging.nifti`
    and `read_dicom` of `cmc_sdk.imaging.dicom.reading.read_series` for what each reads and refuses.

    Args:
        path: Where the scan lies.
        label: It is a label map: values must be class indices, and become uint8.
        series: Of DICOM: which series, where there are several; a Series Instance UID or a series number, if need be
            followed by the volume's name in it, as in "6:b=800".
        irregular: Of DICOM: whether missing slices and variable spacing are refused, or resampled to an even grid.

    Raises:
        DataError: Missing, damaged, none of these, or not exactly one volume.
        GeometryError: It does not say where its voxels lie, or contradicts itself.
    """
    if not _is_dicom(Path(path)):
        return read_nifti(path, label=label)
    from cmc_sdk.imaging.dicom.reading.read_series import read_dicom  # here: who reads NIfTI alone never pays for it

    volume = read_dicom(path, series=series, irregular=irregular)
    return as_labels(volume) if label else volume


def _is_dicom(path: Path) -> bool:
    if path.is_dir():
        return True
    try:
        with open(path, "rb") as handle:
            start = handle.read(132)
    except OSError:
        return False  # the NIfTI reader says what is wrong with it
    from cmc_sdk.imaging.dicom.reading.header import is_dicom

    return start.startswith(b"PK\x03\x04") or is_dicom(start)
