"""What every object carries over from its source: patient, study, frame of reference, references; and the run."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.dicom.source import DicomSource, SourceFrame, require_dicom_source
from cmc_sdk.imaging.dicom.writing.algorithm import AlgorithmIdentity
from cmc_sdk.imaging.dicom.writing.coding import plain_text, private_scheme_item
from cmc_sdk.imaging.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "RECORD_CREATOR",
    "RECORD_GROUP",
    "add_record",
    "carry_over",
    "checked_source",
    "frame_reference",
    "instance_references",
    "series_number",
]

RECORD_GROUP = 0x0099
RECORD_CREATOR = "CMC-SDK RUN RECORD 1"

_EMPTY_IF_ABSENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber",
)  # fmt: skip
_IF_PRESENT = (
    "IssuerOfPatientID", "OtherPatientIDsSequence", "PatientBirthTime", "EthnicGroup", "PatientComments",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson",
    "ResponsiblePersonRole", "ResponsibleOrganization", "IssuerOfAccessionNumberSequence", "StudyDescription",
    "PhysiciansOfRecord", "ProcedureCodeSequence", "PatientAge", "PatientSize", "PatientWeight", "PatientSexNeutered",
    "AdmissionID", "AdmittingDiagnosesDescription", "AdditionalPatientHistory", "PregnancyStatus",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
)  # fmt: skip
_CLASSIC = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "PT": "1.2.840.10008.5.1.4.1.1.128"}


def checked_source(labels: Volume, *, classes: ClassTable) -> DicomSource:
    """Where `labels` came from, once they are known to be labels of `classes` on a grid that DICOM can hold.

    Raises:
        InputError: The volume was not read from DICOM, or its series names no frame of reference.
        DataError: Values that are no class, or one frame a slice is not known.
    """
    source = require_dicom_source(labels)
    if not source.frame_of_reference_uid:
        raise InputError(
            f"{labels.name}: its series names no frame of reference, and a DICOM object in another one would say that "
            "it lies somewhere else",
            mend="write NIfTI, or have the scanner's archive send the series with its Frame of Reference UID",
        )
    if len(source.frames) != labels.size_vox[2]:
        raise DataError(
            f"{labels.name}: {labels.size_vox[2]} slices, and its source knows {len(source.frames)}",
            mend="label the volume in the order in which it was read: column, row, slice",
        )
    if labels.stored.dtype.kind not in "iub" or labels.slope != 1.0 or labels.intercept != 0.0:
        raise DataError(f"{labels.name}: labels of type {labels.stored.dtype}", mend="give class indices (as_labels)")
    low, high = int(labels.stored.min()), int(labels.stored.max())
    if low < 0 or high >= classes.num_classes:
        raise DataError(
            f"{labels.name}: label values {low} … {high}, and the class table holds 0 … {classes.num_classes - 1}",
            mend="give the class table that belongs to these labels",
        )
    return source


def carry_over(
    dataset: Dataset, *, source: DicomSource, algorithm: AlgorithmIdentity, coded_privately: bool = False
) -> None:
    """Set patient, study, frame of reference, equipment and time of creation; text is written as UTF-8."""
    header = source.header
    for element in _patient_and_study(header):
        dataset[element.tag] = element
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyInstanceUID = source.study_instance_uid
    dataset.FrameOfReferenceUID = source.frame_of_reference_uid
    dataset.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
    dataset.Manufacturer = plain_text(algorithm.manufacturer)
    dataset.ManufacturerModelName = plain_text(algorithm.model_name)
    dataset.DeviceSerialNumber = plain_text(algorithm.serial_number)
    dataset.SoftwareVersions = plain_text(algorithm.software_version)
    now = datetime.datetime.now().astimezone()
    dataset.TimezoneOffsetFromUTC = now.strftime("%z")
    dataset.InstanceCreationDate = dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.SeriesTime = now.strftime("%H%M%S.%f")
    if coded_privately:
        dataset.CodingSchemeIdentificationSequence = [private_scheme_item()]


def _patient_and_study(header: Dataset) -> Dataset:
    """Copies of the elements themselves, their text decoded: a value that breaks a rule is still the patient's."""
    from pydicom.dataset import Dataset

    kept = Dataset()
    if "SpecificCharacterSet" in header:
        kept["SpecificCharacterSet"] = copy.deepcopy(header["SpecificCharacterSet"])
    for keyword in (*_EMPTY_IF_ABSENT, *_IF_PRESENT):
        if keyword in header:
            kept[keyword] = copy.deepcopy(header[keyword])
        elif keyword in _EMPTY_IF_ABSENT:
            setattr(kept, keyword, None)
    kept.decode()
    for element in kept:
        if element.VR == "PN" and element.value:  # a name remembers the source's character set, which is not ours
            element.value = [str(name) for name in element.value] if element.VM > 1 else str(element.value)
    return kept


def add_record(dataset: Dataset, record: Mapping[str, object] | None) -> None:
    """Put the run record, as JSON, into a private block with its creator; None adds nothing."""
    if record is None:
        return
    block = dataset.private_block(RECORD_GROUP, RECORD_CREATOR, create=True)
    block.add_new(0x01, "UT", json.dumps(dict(record), sort_keys=True, default=_plain))


def series_number(source: DicomSource, *, of: int) -> int:
    """A number for a new series that sorts behind its source's: 100 times that, and `of`."""
    try:
        number = int(source.header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return max(number, 0) * 100 + of if number < 10_000_000 else of


def frame_reference(frame: SourceFrame, *, source: DicomSource) -> Dataset:
    """A reference to one frame: class, instance, and its number where the instance has several."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = _sop_class(frame, source=source)
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    if frame.frame_number is not None:
        item.ReferencedFrameNumber = frame.frame_number
    return item


def instance_references(source: DicomSource) -> list[Dataset]:
    """A reference to each instance once, in the order of the slices."""
    from pydicom.dataset import Dataset

    items: dict[str, Dataset] = {}
    for frame in source.frames:
        if frame is not None and frame.sop_instance_uid not in items:
            item = items[frame.sop_instance_uid] = Dataset()
            item.ReferencedSOPClassUID = _sop_class(frame, source=source)
            item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    return list(items.values())


def _sop_class(frame: SourceFrame, *, source: DicomSource) -> str:
    if frame.sop_class_uid:
        return frame.sop_class_uid
    if frame.frame_number is None and source.modality in _CLASSIC:  # a single frame of its modality is nothing else
        return _CLASSIC[source.modality]
    raise InputError(
        f"{frame.path} names no SOP class, so that nothing can refer to it",
        mend="write NIfTI, or have the archive send the series again",
    )


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
