"""Where a volume came from in DICOM: the instances and frames that its slices are, kept for the way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cmc_sdk.errors import InputError
from cmc_sdk.imaging.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["DicomSource", "SourceFrame", "dicom_source", "require_dicom_source"]


@dataclass(frozen=True)
class SourceFrame:
    """One frame of one instance.

    Args:
        path: The file.
        sop_class_uid: Of the instance.
        sop_instance_uid: Of the instance.
        frame_number: From 1 in a multi-frame instance; None in a single-frame one.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None = None


@dataclass(frozen=True)
class DicomSource:
    """What a volume that was read from DICOM keeps as its `Volume.header`.

    The volume's array is indexed (column, row, slice): `stored[i, j, k]` is the pixel of column i and row j of
    `frames[k]`, and `affine_mm` is that of this order, in RAS.

    Args:
        frames: By slice; None where a slice was interpolated, so that nothing in the source lies there.
        header: Data set of the first frame's instance without pixel data: patient, study, series and equipment.
        study_instance_uid: As the instances say.
        series_instance_uid: As the instances say.
        frame_of_reference_uid: As the instances say; None where they name none.
        modality: DICOM's word, such as CT or MR.
        gaps: Slices that lie where the scanner left one out: labels there have a confidence of 0.
        holds: Whatever must live as long as the paths are used: the temporary folder of an unpacked zip.
    """

    frames: tuple[SourceFrame | None, ...]
    header: Dataset = field(repr=False)
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str | None
    modality: str
    gaps: frozenset[int] = frozenset()
    holds: object = field(default=None, repr=False, compare=False)


def dicom_source(volume: Volume) -> DicomSource | None:
    """Where `volume` came from in DICOM; None if it came from elsewhere."""
    return volume.header if isinstance(volume.header, DicomSource) else None


def require_dicom_source(volume: Volume) -> DicomSource:
    """Where `volume` came from in DICOM.

    Raises:
        InputError: It came from elsewhere.
    """
    source = dicom_source(volume)
    if source is None:
        raise InputError(
            f"{volume.name} was not read from DICOM, so there are no frames that a DICOM object could refer to",
            mend="give the DICOM series instead, or write NIfTI",
        )
    return source
