"""A candidate volume: everything that a header says of it, before its pixels are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.frames import Frame, SequenceWords
from cmc_sdk.imaging.dicom.reading.grouping import Group
from cmc_sdk.imaging.dicom.reading.pixels import pixel_dtype
from cmc_sdk.imaging.dicom.reading.stack import Irregular, Stack, orientation_word
from cmc_sdk.imaging.dicom.refusal import DicomError
from cmc_sdk.imaging.dicom.source import SourceFrame

__all__ = ["SeriesVolume", "is_scaled_by_frame", "series_volume", "source_frame"]


@dataclass(frozen=True)
class SeriesVolume:
    """One volume of a series, not read yet; `read_series` reads it. Plain values only.

    Args:
        series_instance_uid: Empty where the files name none.
        study_instance_uid: As the files say.
        frame_of_reference_uid: Empty where the files name none.
        patient_key: Equal for equal patients, within this process only; says nothing about who. Empty where the files
            name nobody.
        modality: DICOM's word: CT, MR or PT.
        name: What tells it from the other volumes of its series, such as "b=800"; empty where it is the only one.
        words: How it was made: descriptions, sequence, contrast agent, image type.
        orientation: By the slice normal: axial, coronal, sagittal, or oblique where none is within 40°.
        size_vox: Columns, rows and slices of the grid.
        spacing_mm: Between columns, rows and slices.
        affine_mm: Rows of the (4, 4) matrix (column, row, slice) → RAS.
        b_value: In s/mm²; None where nothing says that it is a diffusion image.
        echo_number: None where the headers give none.
        echo_time_ms: None where the headers give none.
        kinds: Words that say which quantity it shows, such as P for phase or ADC.
        irregular: Why its grid is not just its frames; None where it is. `read_series` refuses it unless told to
            resample.
        gaps: Slices of the grid that the scanner left out.
        notes: What the user should know.
        frames: The frames along the slice axis, without the missing ones.
        files: How many files they lie in.
        voxel_bytes: Of the volume in memory, as stored.
        order: Its place among the volumes of its series.
        path: The file, folder or zip that was scanned.
        stack: For `read_series`.
        holds: The temporary folder of an unpacked zip.
    """

    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    patient_key: str = field(repr=False)
    modality: str
    name: str
    words: SequenceWords
    orientation: str
    size_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine_mm: tuple[tuple[float, ...], ...]
    b_value: float | None
    echo_number: int | None
    echo_time_ms: float | None
    kinds: tuple[str, ...]
    irregular: Irregular | None
    gaps: frozenset[int]
    notes: tuple[str, ...]
    frames: tuple[SourceFrame, ...] = field(repr=False)
    files: int
    voxel_bytes: int
    order: tuple[tuple[float, str], ...] = field(repr=False)
    path: Path = field(repr=False)
    stack: Stack = field(repr=False, compare=False)
    holds: object = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """A short name for tables and messages: the series number and description, and what tells it apart."""
        number = "" if self.words.series_number is None else f"{self.words.series_number} "
        description = self.words.series_description or self.words.protocol_name or self.modality
        return f"{number}{description}{f' [{self.name}]' if self.name else ''}"


def series_volume(
    stack: Stack, *, group: Group, dropped: int, limits: DicomLimits, path: Path, holds: object = None
) -> SeriesVolume:
    """Describe a stack.

    Raises:
        DicomError: Its voxels would be more than is allowed.
    """
    first = stack.frames[0]
    instance = first.instance
    size = (instance.columns, instance.rows, stack.slices)
    item = max(pixel_dtype(instance.layout).itemsize, 4 if is_scaled_by_frame(stack) else 0)
    voxel_bytes = size[0] * size[1] * size[2] * item
    if voxel_bytes > limits.max_volume_bytes:
        raise DicomError(
            "too large",
            f"{size[0]}×{size[1]}×{size[2]} voxels are {voxel_bytes / 1e9:.1f} GB; "
            f"{limits.max_volume_bytes / 1e9:.1f} GB are allowed",
            mend="raise max_volume_bytes",
        )
    matrix = stack.affine_mm[:3, :3]
    column, row, depth = (float(length) for length in np.linalg.norm(matrix, axis=0))
    duplicates = (f"{dropped} identical duplicate(s) were dropped",) if dropped else ()
    instances = {frame.instance.path: frame.instance for frame in stack.frames}
    notes = dict.fromkeys(note for item in instances.values() for note in item.notes)
    return SeriesVolume(
        series_instance_uid=instance.series_instance_uid,
        study_instance_uid=instance.study_instance_uid,
        frame_of_reference_uid=instance.frame_of_reference_uid,
        patient_key=instance.patient_key,
        modality=instance.modality,
        name=group.name,
        words=instance.words,
        orientation=orientation_word(np.cross(matrix[:, 0] / column, matrix[:, 1] / row)),
        size_vox=size,
        spacing_mm=(column, row, depth),
        affine_mm=tuple(tuple(float(value) for value in line) for line in stack.affine_mm),
        b_value=first.b_value,
        echo_number=first.echo_number,
        echo_time_ms=first.echo_time_ms,
        kinds=first.kinds,
        irregular=stack.irregular,
        gaps=stack.gaps,
        notes=(*notes, *duplicates, *stack.notes),
        frames=tuple(source_frame(frame) for frame in stack.frames),
        files=len(instances),
        voxel_bytes=voxel_bytes,
        order=tuple(_sortable(value) for _, value in group.traits),
        path=path,
        stack=stack,
        holds=holds,
    )


def _sortable(value: str) -> tuple[float, str]:
    """Numbers by size, words after them."""
    try:
        return (float(value), value)
    except ValueError:
        return (float("inf"), value)


def is_scaled_by_frame(stack: Stack) -> bool:
    """Whether its frames differ in how true values are had from stored ones, so that it is read as float32."""
    scalings = {frame.scaling for frame in stack.frames}
    return len(scalings) > 1 or next(iter(scalings)).lookup


def source_frame(frame: Frame) -> SourceFrame:
    """Where a frame came from, as `DicomSource` keeps it."""
    instance = frame.instance
    return SourceFrame(
        path=instance.path,
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        frame_number=frame.index + 1 if instance.multi_frame else None,
    )
