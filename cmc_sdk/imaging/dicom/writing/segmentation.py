"""Labels as a DICOM Segmentation on the scanner's own frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import InputError
from cmc_sdk.imaging.classes import ClassTable, SegmentClass
from cmc_sdk.imaging.dicom.source import DicomSource
from cmc_sdk.imaging.dicom.writing.algorithm import AlgorithmIdentity
from cmc_sdk.imaging.dicom.writing.carried import (
    add_record,
    carry_over,
    checked_source,
    frame_reference,
    instance_references,
    series_number,
)
from cmc_sdk.imaging.dicom.writing.coding import category_of, cielab_of, code_item, plain_text, type_of
from cmc_sdk.imaging.dicom.writing.slice_planes import Planes, planes_of
from cmc_sdk.imaging.volume import Volume

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

__all__ = ["write_segmentation"]

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_GAP_COMMENT = "Interpolated: the source has no image at this position"


def write_segmentation(
    labels: Volume,
    *,
    path: str | os.PathLike[str],
    classes: ClassTable,
    algorithm: AlgorithmIdentity,
    confidence: Volume | None = None,
    kind: Literal["binary", "labelmap"] = "binary",
    record: Mapping[str, object] | None = None,
) -> None:
    """Write `labels` as one DICOM SEG whose frames lie on, and refer to, the frames that the scan was read from.

    A segment a class, absent ones included; empty frames are left out. Slices that the source does not have refer to
    nothing and say so. Patient, study and frame of reference are the source's, UIDs are new. Before the file gets its
    name it is read back and compared with `labels` in the patient.

    Args:
        labels: Class indices on a grid that was read from DICOM: its `header` is a DicomSource.
        path: The file; its folder must exist; an existing file is replaced.
        classes: The table that the indices belong to.
        algorithm: What made the labels.
        confidence: On the same grid, 0 to 1 (or 0 to 255 with slope 1/255): its mean over each segment goes into the
            segment's description.
        kind: `binary`: one bit a voxel and segment, read everywhere; `labelmap`: one byte a voxel (Label Map
            Segmentation Storage of 2024), which older programs do not know.
        record: The run record, put into a private block.

    Raises:
        InputError: The labels do not come from DICOM; a missing folder; another grid for the confidence.
        DataError: Labels that are not in the class table.
        GeometryError: The file that was read back does not hold `labels` where they lie in the patient.
        ResourceError: The disk is full or the folder cannot be written.
    """
    from cmc_sdk.imaging.dicom.checking.round_trip import check_segmentation

    source = checked_source(labels, classes=classes)
    if not classes.classes:
        raise InputError("a class table without classes has no segments", mend="name at least one class")
    final = Path(path)
    means = None if confidence is None else _mean_confidence(labels, confidence, classes=classes)
    with atomic_file(final) as temporary:
        dataset = _build(labels, source=source, classes=classes, algorithm=algorithm, kind=kind, means=means)
        add_record(dataset, record)
        dataset.save_as(temporary, enforce_file_format=True)
        del dataset
        check_segmentation(temporary, labels=labels, name=str(final))


def _build(
    labels: Volume,
    *,
    source: DicomSource,
    classes: ClassTable,
    algorithm: AlgorithmIdentity,
    kind: Literal["binary", "labelmap"],
    means: list[float | None] | None,
) -> Dataset:
    from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid
    from pydicom.valuerep import DSfloat

    planes = planes_of(labels)
    positions = [[DSfloat(value, auto_format=True) for value in position] for position in planes.positions_mm.tolist()]
    orientation = [DSfloat(value, auto_format=True) for value in planes.orientation]
    spacing = [DSfloat(value, auto_format=True) for value in planes.pixel_spacing_mm]
    between = DSfloat(planes.slice_spacing_mm, auto_format=True)
    dataset: Dataset = Segmentation(
        source_images=[_stand_in(source, planes=planes, size_vox=labels.size_vox)],
        pixel_array=labels.stored.astype(np.uint8, copy=False).transpose(2, 1, 0),  # (slice, row, column), a view
        segmentation_type=kind.upper(),
        segment_descriptions=[
            _segment(item, algorithm=algorithm, mean=None if means is None else means[item.index])
            for item in classes.classes
        ],
        series_instance_uid=generate_uid(),
        series_number=series_number(source, of=1),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=algorithm.manufacturer,
        manufacturer_model_name=algorithm.model_name,
        software_versions=algorithm.software_version,
        device_serial_number=algorithm.serial_number[:64],
        content_label="SEGMENTATION",
        content_description=plain_text(f"{algorithm.name} {algorithm.version}"),
        series_description=plain_text(f"Segmentation: {algorithm.name} {algorithm.version}"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=spacing, slice_thickness=between, spacing_between_slices=between
        ),
        plane_orientation=PlaneOrientationSequence("PATIENT", orientation),
        plane_positions=[PlanePositionSequence("PATIENT", position) for position in positions],
    )
    carry_over(
        dataset,
        source=source,
        algorithm=algorithm,
        coded_privately=any(item.snomed is None for item in classes.classes),
    )
    slice_at = {tuple(map(str, position)): k for k, position in enumerate(positions)}
    _refer(dataset, source=source, slice_at=slice_at)
    return dataset


def _stand_in(source: DicomSource, *, planes: Planes, size_vox: tuple[int, int, int]) -> Dataset:
    """What highdicom wants to see of a source: one plane. Patient, study and references are set afterwards, from the
    source itself, in one way for single-frame and multi-frame instances."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    image = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, keyword, "")
    image.StudyDate = image.StudyTime = None
    image.StudyInstanceUID = source.study_instance_uid
    image.SeriesInstanceUID = source.series_instance_uid
    image.FrameOfReferenceUID = source.frame_of_reference_uid
    image.SOPClassUID = _CT_IMAGE
    image.SOPInstanceUID = generate_uid()
    image.Modality = source.modality
    image.Columns, image.Rows = size_vox[0], size_vox[1]
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in source.header:
            image[keyword] = source.header[keyword]
    # Nothing of the geometry may match: highdicom would take the stand-in's for the planes' own.
    image.ImageOrientationPatient = [*planes.orientation[3:], *planes.orientation[:3]]
    image.ImagePositionPatient = [0.0, 0.0, 0.0]
    image.PixelSpacing = [2.0 * value for value in planes.pixel_spacing_mm]
    image.SliceThickness = planes.slice_spacing_mm
    return image


def _segment(item: SegmentClass, *, algorithm: AlgorithmIdentity, mean: float | None) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    segment = SegmentDescription(
        segment_number=item.index,
        segment_label=plain_text(item.name),
        segmented_property_category=CodedConcept.from_dataset(code_item(category_of(item))),
        segmented_property_type=CodedConcept.from_dataset(code_item(type_of(item))),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=plain_text(algorithm.name),
            family=codes.DCM.ArtificialIntelligence,
            version=plain_text(algorithm.version),
            source=plain_text(algorithm.manufacturer),
        ),
    )
    segment.RecommendedDisplayCIELabValue = list(cielab_of(item.color))
    if mean is not None:
        segment.SegmentDescription = f"mean confidence {mean:.3f}"
    return segment


def _refer(dataset: Dataset, *, source: DicomSource, slice_at: Mapping[tuple[str, ...], int]) -> None:
    """References to every source instance, and from each frame to the source frame at its position."""
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    derivation = CodedConcept.from_code(codes.DCM.Segmentation)
    purpose = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    derived: dict[int, list[Dataset]] = {}
    for item in dataset.PerFrameFunctionalGroupsSequence:
        k = slice_at[tuple(map(str, item.PlanePositionSequence[0].ImagePositionPatient))]
        frame = source.frames[k]
        if frame is None:
            item.FrameContentSequence[0].FrameComments = _GAP_COMMENT
            item.DerivationImageSequence = []
            continue
        if k not in derived:
            reference = frame_reference(frame, source=source)
            reference.PurposeOfReferenceCodeSequence = [purpose]
            reference.SpatialLocationsPreserved = "YES"
            image = Dataset()
            image.DerivationCodeSequence = [derivation]
            image.SourceImageSequence = [reference]
            derived[k] = [image]
        item.DerivationImageSequence = derived[k]
    dataset.SourceImageSequence = instance_references(source)
    series = Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    series.ReferencedInstanceSequence = instance_references(source)
    dataset.ReferencedSeriesSequence = [series]


def _mean_confidence(labels: Volume, confidence: Volume, *, classes: ClassTable) -> list[float | None]:
    """By label value, slab by slab; None for an absent class."""
    if not labels.same_grid(confidence):
        raise InputError(
            f"{confidence.name}: the confidence is not on the grid of {labels.name}", mend="give both from one result"
        )
    scale = 1.0 / 255.0 if confidence.stored.dtype == np.uint8 and confidence.slope == 1.0 else 1.0
    count, total = np.zeros(classes.num_classes), np.zeros(classes.num_classes)
    for k in range(labels.size_vox[2]):
        values = labels.stored[:, :, k].ravel()
        count += np.bincount(values, minlength=classes.num_classes)
        weights = confidence.true_values(confidence.stored[:, :, k]).ravel()
        total += np.bincount(values, weights=weights, minlength=classes.num_classes) * scale
    return [float(sum_ / n) if n else None for sum_, n in zip(total, count, strict=True)]
