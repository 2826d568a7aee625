"""Labels as a DICOM RT Structure Set: closed contours on the scanner's own slices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cmc_sdk.atomic import atomic_file
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
from cmc_sdk.imaging.dicom.writing.coding import code_item, plain_text, type_of
from cmc_sdk.imaging.dicom.writing.outlines import outlines
from cmc_sdk.imaging.dicom.writing.slice_planes import planes_of
from cmc_sdk.imaging.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["write_structure_set"]

_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management: what RTSTRUCT asks for by tradition
_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def write_structure_set(
    labels: Volume,
    *,
    path: str | os.PathLike[str],
    classes: ClassTable,
    algorithm: AlgorithmIdentity,
    record: Mapping[str, object] | None = None,
) -> None:
    """Write `labels` as one RTSTRUCT: a region of interest a class, its contours on the slices of the scan.

    Contours run halfway between the centres of pixels inside and outside, so that filling them gives the labels back
    pixel by pixel; straight runs have no points of their own. All are CLOSED_PLANAR; a hole is joined to the contour
    around it by a channel of no width (PS3.3 C.8.8.6), so that the area is right whether a program joins contours,
    takes their exclusive or, or counts windings. A slice that the source does not have gets contours without a
    reference. A class that is absent gets a region without contours. Before the file gets its name it is read back,
    filled and compared with `labels`.

    Args:
        labels: Class indices on a grid that was read from DICOM: its `header` is a DicomSource.
        path: The file; its folder must exist; an existing file is replaced.
        classes: The table that the indices belong to.
        algorithm: What made the labels.
        record: The run record, put into a private block.

    Raises:
        InputError: The labels do not come from DICOM; a missing folder.
        DataError: Labels that are not in the class table.
        GeometryError: The file that was read back does not hold `labels` where they lie in the patient.
        ResourceError: The disk is full or the folder cannot be written.
    """
    from cmc_sdk.imaging.dicom.checking.round_trip import check_structure_set

    source = checked_source(labels, classes=classes)
    final = Path(path)
    with atomic_file(final) as temporary:
        dataset = _build(labels, source=source, classes=classes, algorithm=algorithm)
        add_record(dataset, record)
        dataset.save_as(temporary, enforce_file_format=True)
        del dataset
        check_structure_set(temporary, labels=labels, name=str(final))


def _build(labels: Volume, *, source: DicomSource, classes: ClassTable, algorithm: AlgorithmIdentity) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    # Implicit VR: in Explicit VR a contour could not be longer than 64 KiB.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    carry_over(
        dataset,
        source=source,
        algorithm=algorithm,
        coded_privately=any(item.snomed is None for item in classes.classes),
    )
    dataset.SOPClassUID = _RTSTRUCT
    dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SeriesNumber = series_number(source, of=2)
    dataset.SeriesDescription = plain_text(f"Structures: {algorithm.name} {algorithm.version}")
    dataset.OperatorsName = None
    dataset.InstanceNumber = 1
    dataset.StructureSetLabel = plain_text(algorithm.name, most=16)
    dataset.StructureSetName = plain_text(f"{algorithm.name} {algorithm.version}")
    dataset.StructureSetDate = dataset.InstanceCreationDate
    dataset.StructureSetTime = dataset.InstanceCreationTime
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    dataset.StructureSetROISequence = [_region(item, source=source, algorithm=algorithm) for item in classes.classes]
    dataset.ROIContourSequence = _contour_items(labels, source=source, classes=classes)
    dataset.RTROIObservationsSequence = [_observation(item) for item in classes.classes]
    return dataset


def _frame_of_reference(source: DicomSource) -> Dataset:
    from pydicom.dataset import Dataset

    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    series.ContourImageSequence = instance_references(source)
    study.ReferencedSOPClassUID = _STUDY_COMPONENT
    study.ReferencedSOPInstanceUID = source.study_instance_uid
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = source.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _region(item: SegmentClass, *, source: DicomSource, algorithm: AlgorithmIdentity) -> Dataset:
    from pydicom.dataset import Dataset

    region = Dataset()
    region.ROINumber = item.index
    region.ReferencedFrameOfReferenceUID = source.frame_of_reference_uid
    region.ROIName = plain_text(item.name)
    region.ROIGenerationAlgorithm = "AUTOMATIC"
    region.ROIGenerationDescription = plain_text(f"{algorithm.name} {algorithm.version}")
    return region


def _observation(item: SegmentClass) -> Dataset:
    from pydicom.dataset import Dataset

    observation = Dataset()
    observation.ObservationNumber = item.index
    observation.ReferencedROINumber = item.index
    observation.ROIObservationLabel = plain_text(item.name, most=16)
    observation.RTROIIdentificationCodeSequence = [code_item(type_of(item))]
    observation.RTROIInterpretedType = ""  # organ, target, avoidance: the planner decides
    observation.ROIInterpreter = ""
    return observation


def _contour_items(labels: Volume, *, source: DicomSource, classes: ClassTable) -> list[Dataset]:
    """The contours of each class, in the order of the slices."""
    from pydicom.dataset import Dataset

    matrix = planes_of(labels).matrix_mm
    items: dict[int, list[Dataset]] = {item.index: [] for item in classes.classes}
    for k in range(labels.size_vox[2]):
        plane, frame = labels.stored[:, :, k], source.frames[k]
        held = np.bincount(plane.ravel(order="K"), minlength=classes.num_classes)
        for index in (np.flatnonzero(held[1:]) + 1).tolist():
            for points in outlines(plane == index):
                contour = Dataset()
                if frame is not None:
                    contour.ContourImageSequence = [frame_reference(frame, source=source)]
                contour.ContourGeometricType = "CLOSED_PLANAR"
                contour.NumberOfContourPoints = len(points)
                contour.ContourNumber = len(items[index]) + 1
                _set_points(contour, points @ matrix[:, :2].T + (matrix[:, 2] * k + matrix[:, 3]))
                items[index].append(contour)
    regions = []
    for item in classes.classes:
        region = Dataset()
        region.ROIDisplayColor = list(item.color)
        region.ReferencedROINumber = item.index
        if items[item.index]:
            region.ContourSequence = items[item.index]
        regions.append(region)
    return regions


def _set_points(item: Dataset, points_mm: npt.NDArray[np.float64]) -> None:
    """Contour Data as its final text, to 0.1 µm: an object for each of millions of numbers would take gigabytes.

    Bytes of unknown type go into the file as they are, and Implicit VR names no types there.
    """
    from cmc_sdk.imaging.dicom.tags import TAGS

    rounded = np.round(points_mm, 4) + 0.0  # + 0: no minus zero
    text = "\\".join([f"{value:.4f}" for value in rounded.ravel().tolist()]).encode()
    item.add_new(TAGS["ContourData"], "UN", text + b" " * (len(text) % 2))
