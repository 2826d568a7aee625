"""The volumes of the segments as a DICOM Structured Report, template TID 1500."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.classes import ClassTable, Code, SegmentClass
from cmc_sdk.imaging.dicom.source import DicomSource
from cmc_sdk.imaging.dicom.writing.algorithm import AlgorithmIdentity
from cmc_sdk.imaging.dicom.writing.carried import (
    add_record,
    carry_over,
    checked_source,
    instance_references,
    series_number,
)
from cmc_sdk.imaging.dicom.writing.coding import category_of, code_item, plain_text, type_of
from cmc_sdk.imaging.volume import Volume

if TYPE_CHECKING:
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.dataset import Dataset

__all__ = ["write_measurement_report"]

_MILLILITRE = Code(value="mL", scheme="UCUM", meaning="milliliter")


def write_measurement_report(
    labels: Volume,
    *,
    path: str | os.PathLike[str],
    classes: ClassTable,
    volumes_ml: Mapping[str, float],
    algorithm: AlgorithmIdentity,
    segmentation: str | os.PathLike[str] | None,
    record: Mapping[str, object] | None = None,
) -> None:
    """Write the volumes of `labels` as one Comprehensive 3D SR (TID 1500), a measurement group a class.

    Each group refers to its segment of `segmentation`; without one, to the source images. An absent class has 0 ml.

    Args:
        labels: Class indices on a grid that was read from DICOM: its `header` is a DicomSource.
        path: The file; its folder must exist; an existing file is replaced.
        classes: The table that the indices belong to.
        volumes_ml: By class name, in millilitres.
        algorithm: What made the labels.
        segmentation: The SEG that `write_segmentation` made of the same labels.
        record: The run record, put into a private block.

    Raises:
        InputError: The labels do not come from DICOM; a missing folder.
        DataError: A volume that is not that of its label, or a class without one; a SEG of another series; or a report
            that does not read back as it was meant.
        ResourceError: The disk is full or the folder cannot be written.
    """
    source = checked_source(labels, classes=classes)
    final = Path(path)
    _check_volumes(labels, classes=classes, volumes_ml=volumes_ml)
    seen = None if segmentation is None else _segmentation(Path(segmentation), source=source)
    with atomic_file(final) as temporary:
        dataset = _build(source, classes=classes, volumes_ml=volumes_ml, algorithm=algorithm, segmentation=seen)
        add_record(dataset, record)
        dataset.save_as(temporary, enforce_file_format=True)
        _check_report(temporary, classes=classes, volumes_ml=volumes_ml, segmentation=seen, name=str(final))


def _build(
    source: DicomSource,
    *,
    classes: ClassTable,
    volumes_ml: Mapping[str, float],
    algorithm: AlgorithmIdentity,
    segmentation: Dataset | None,
) -> Dataset:
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    procedures = {
        "CT": codes.LN.CTUnspecifiedBodyRegion,
        "MR": codes.LN.MRIUnspecifiedBodyRegion,
        "PT": codes.LN.PETUnspecifiedBodyRegion,
    }
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=[algorithm.name, algorithm.version, algorithm.serial_number]),
            name=algorithm.name,
            manufacturer_name=algorithm.manufacturer,
            model_name=algorithm.model_name,
            serial_number=algorithm.serial_number,
        ),
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=procedures.get(source.modality, codes.SCT.ImagingProcedure),
        imaging_measurements=[
            _group(item, source=source, volume_ml=volumes_ml[item.name], algorithm=algorithm, segmentation=segmentation)
            for item in classes.classes
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    evidence = [_evidence(source, reference) for reference in instance_references(source)]
    dataset: Dataset = sr.Comprehensive3DSR(
        evidence=evidence + ([] if segmentation is None else [segmentation]),
        content=report[0],
        series_instance_uid=generate_uid(),
        series_number=series_number(source, of=3),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=algorithm.manufacturer,
        is_complete=True,
        series_description=plain_text(f"Volumes: {algorithm.name} {algorithm.version}"),
    )
    carry_over(
        dataset,
        source=source,
        algorithm=algorithm,
        coded_privately=any(item.snomed is None for item in classes.classes),
    )
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator  # a report has no place in space
    return dataset


def _group(
    item: SegmentClass,
    *,
    source: DicomSource,
    volume_ml: float,
    algorithm: AlgorithmIdentity,
    segmentation: Dataset | None,
) -> MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations:
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    tracking = sr.TrackingIdentifier(uid=generate_uid(), identifier=item.name)
    made_by = sr.AlgorithmIdentification(name=algorithm.name, version=algorithm.version)
    kind, category = (sr.CodedConcept.from_dataset(code_item(code)) for code in (type_of(item), category_of(item)))
    unit = sr.CodedConcept.from_dataset(code_item(_MILLILITRE))
    measured = [sr.Measurement(name=codes.SCT.Volume, value=float(f"{volume_ml:.10g}"), unit=unit)]
    if segmentation is None:
        images = [
            sr.SourceImageForMeasurementGroup(
                referenced_sop_class_uid=reference.ReferencedSOPClassUID,
                referenced_sop_instance_uid=reference.ReferencedSOPInstanceUID,
            )
            for reference in instance_references(source)
        ]
        return sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            finding_category=category,
            finding_type=kind,
            algorithm_id=made_by,
            measurements=measured,
            source_images=images,
        )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=item.index,
            source_series=sr.SourceSeriesForSegmentation(source.series_instance_uid),
        ),
        finding_category=category,
        finding_type=kind,
        algorithm_id=made_by,
        measurements=measured,
    )


def _evidence(source: DicomSource, reference: Dataset) -> Dataset:
    """As much of a source instance as the list of evidence names."""
    from pydicom.dataset import Dataset

    image = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, keyword, "")
    image.StudyDate = image.StudyTime = None
    image.StudyInstanceUID = source.study_instance_uid
    image.SeriesInstanceUID = source.series_instance_uid
    image.SOPClassUID = reference.ReferencedSOPClassUID
    image.SOPInstanceUID = reference.ReferencedSOPInstanceUID
    return image


def _segmentation(path: Path, *, source: DicomSource) -> Dataset:
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    series = {str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence") or ()}
    if source.series_instance_uid not in series or dataset.StudyInstanceUID != source.study_instance_uid:
        raise DataError(f"{path} is not a segmentation of this series", mend="give the SEG of the same labels")
    return dataset


def _check_volumes(labels: Volume, *, classes: ClassTable, volumes_ml: Mapping[str, float]) -> None:
    counts = np.zeros(classes.num_classes)
    for k in range(labels.size_vox[2]):
        counts += np.bincount(labels.stored[:, :, k].ravel(), minlength=classes.num_classes)
    for item in classes.classes:
        if item.name not in volumes_ml:
            raise DataError(f"no volume of {item.name!r} to report", mend="give the volume of every class")
        expected, given = float(counts[item.index]) * labels.voxel_volume_ml, volumes_ml[item.name]
        if not math.isclose(given, expected, rel_tol=1e-6, abs_tol=1e-9):
            raise DataError(
                f"{labels.name}: {given:g} ml of {item.name!r} are to be reported, and its label measures "
                f"{expected:g} ml",
                mend="give the volumes that were measured on these labels",
            )


def _check_report(
    path: Path, *, classes: ClassTable, volumes_ml: Mapping[str, float], segmentation: Dataset | None, name: str
) -> None:
    """Read the report back with pydicom alone: every class with its volume, and its own segment of the SEG."""
    import pydicom

    found: dict[str, tuple[float, tuple[str, int] | None]] = {}
    for outer in pydicom.dcmread(path).ContentSequence:
        for group in outer.get("ContentSequence") or ():
            items = {
                str(item.ConceptNameCodeSequence[0].CodeValue): item for item in group.get("ContentSequence") or ()
            }
            if "112039" not in items or "118565006" not in items:  # Tracking Identifier, Volume
                continue
            measured = items["118565006"].MeasuredValueSequence[0]
            segment = None
            if "121191" in items:  # Referenced Segment
                reference = items["121191"].ReferencedSOPSequence[0]
                segment = (str(reference.ReferencedSOPInstanceUID), int(reference.ReferencedSegmentNumber))
            found[str(items["112039"].TextValue)] = (float(measured.NumericValue), segment)
    for item in classes.classes:
        expected = None if segmentation is None else (str(segmentation.SOPInstanceUID), item.index)
        volume, segment = found.get(item.name, (math.nan, None))
        if not math.isclose(volume, volumes_ml[item.name], rel_tol=1e-6, abs_tol=1e-9) or segment != expected:
            raise DataError(
                f"{name} was not written: read back, it says {volume:g} ml of {item.name!r} in segment {segment}",
                mend="report this, since it must not happen",
            )
