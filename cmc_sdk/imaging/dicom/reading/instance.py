"""From a header to an instance: which files can be planes of a volume, and the refusals of the others."""

from __future__ import annotations

import hashlib
import os

from cmc_sdk.imaging.dicom.reading.attributes import Attributes
from cmc_sdk.imaging.dicom.reading.frames import Frame, Instance, PixelLayout, SequenceWords
from cmc_sdk.imaging.dicom.reading.functional_groups import multi_frame
from cmc_sdk.imaging.dicom.reading.header import Header
from cmc_sdk.imaging.dicom.reading.plane import classic_frame
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["DIRECTORY_CLASS", "frames_of", "series_key"]

_MODALITY_OF_CLASS = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.128.1": "PT",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
}
# Younger than pydicom's dictionary.
_NEW_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_MODALITIES = {"CT", "MR", "PT"}
# Of this process alone: equal patients have equal keys, and no key can be turned back into a name by trying names.
_SECRET = os.urandom(32)


def series_key(header: Header) -> str:
    """The series of a file; the folder stands for it where the file names none."""
    uid = header.attributes.text("SeriesInstanceUID")
    return uid or f"no UID, {header.path.parent}"


def frames_of(header: Header) -> list[Frame]:
    """The planes that a file holds.

    Raises:
        DicomError: It cannot be part of a volume, and why.
    """
    attributes = header.attributes
    instance = _instance(header)
    if "PerFrameFunctionalGroupsSequence" in attributes:
        return multi_frame(attributes, instance=instance)
    if instance.frames > 1:
        raise DicomError(
            "frames",
            f"{header.path} holds {instance.frames} frames and no functional groups that say where each lies",
            mend="export the series as single images or as an Enhanced object",
        )
    return [classic_frame(attributes, instance=instance)]


def _instance(header: Header) -> Instance:
    attributes, path = header.attributes, header.path
    notes: list[str] = []
    sop_class = attributes.text("SOPClassUID") or header.meta_text("MediaStorageSOPClassUID")
    uid = attributes.text("SOPInstanceUID")
    if not uid:
        uid = header.meta_text("MediaStorageSOPInstanceUID")
        notes.append("the data set has no SOP Instance UID; that of the file's meta header is used")
    modality = attributes.text("Modality") or _MODALITY_OF_CLASS.get(sop_class, "")
    _check_class(sop_class, modality=modality, header=header)
    if not attributes.text("SeriesInstanceUID"):
        notes.append("the files name no series; those of one folder were taken together")
    if attributes.text("LossyImageCompression") == "01":
        notes.append("its pixels were once compressed with loss")
    image_type = tuple(word.upper() for word in attributes.words("ImageType"))
    if {"LOCALIZER", "SCOUT"} & set(image_type):
        raise DicomError("localizer", f"{path} is a localizer", mend="give the scan itself")
    if "MOSAIC" in image_type:
        raise DicomError(
            "mosaic",
            f"{path} is a Siemens mosaic: many slices in one picture, without a position for each",
            mend="export it as single slices or as Enhanced MR",
        )
    rows, columns = attributes.short("Rows") or 0, attributes.short("Columns") or 0
    number_of_frames = attributes.integer("NumberOfFrames")
    frames = 1 if number_of_frames is None else number_of_frames
    layout = _layout(header, rows=rows, columns=columns, frames=frames)
    return Instance(
        path=path,
        file_bytes=header.file_bytes,
        sop_class_uid=sop_class,
        sop_instance_uid=uid,
        study_instance_uid=attributes.text("StudyInstanceUID"),
        series_instance_uid=attributes.text("SeriesInstanceUID"),
        frame_of_reference_uid=attributes.text("FrameOfReferenceUID"),
        patient_key=_patient_key(attributes),
        modality=modality,
        rows=rows,
        columns=columns,
        frames=frames,
        multi_frame="PerFrameFunctionalGroupsSequence" in attributes,
        layout=layout,
        words=_words(attributes, image_type=image_type),
        notes=tuple(notes),
    )


def _check_class(sop_class: str, *, modality: str, header: Header) -> None:
    if sop_class in _MODALITY_OF_CLASS or (not sop_class and modality in _MODALITIES):
        return
    from pydicom.uid import UID

    sop_class, modality = sop_class[:64], modality[:16]
    name = _NEW_CLASSES.get(sop_class) or (UID(sop_class).name if sop_class else "no SOP class")
    if "Color" in name:
        raise _colour(header)
    raise DicomError(
        "not an image volume",
        f"{name}{f' ({modality})' if modality else ''} holds no planes of a CT, MR or PET scan",
        mend="give the CT, MR or PET series itself",
    )


def _colour(header: Header) -> DicomError:
    return DicomError(
        "colour", f"{header.path} is a colour picture, not measured values", mend="give the scan it was made from"
    )


def _layout(header: Header, *, rows: int, columns: int, frames: int) -> PixelLayout:
    attributes, path = header.attributes, header.path
    samples = attributes.short("SamplesPerPixel")
    photometric = attributes.text("PhotometricInterpretation").upper()
    if (samples or 1) != 1 or photometric not in {"MONOCHROME1", "MONOCHROME2", ""}:
        raise _colour(header)
    if header.pixel_offset is None or rows < 1 or columns < 1 or frames < 1:
        raise DicomError(
            "no pixels",
            f"{path} holds no pixels ({columns}×{rows}, {frames} frames)",
            mend="copy it again from its source",
        )
    allocated, stored = attributes.short("BitsAllocated") or 0, attributes.short("BitsStored") or 0
    high, signed = attributes.short("HighBit"), attributes.short("PixelRepresentation")
    good = allocated in {8, 16, 32} and 0 < stored <= allocated and signed in {0, 1}
    if header.pixel_kind or not good or (high is not None and high != stored - 1):
        raise DicomError(
            "pixel format",
            f"{path}: {header.pixel_kind or 'integer'} pixels with {allocated} bits allocated, {stored} stored, "
            f"high bit {high}, representation {signed} are not read (8, 16 or 32 bits, from bit 0, are)",
            mend="convert it with its maker's tools",
        )
    needed = rows * columns * frames * (allocated // 8)
    if header.pixel_bytes is not None and min(header.pixel_bytes, header.file_bytes - header.pixel_offset) < needed:
        raise DicomError(
            "damaged",
            f"{path} is truncated: its header announces {needed} bytes of pixels and it holds "
            f"{max(0, min(header.pixel_bytes, header.file_bytes - header.pixel_offset))}",
            mend="copy it again from its source",
        )
    return PixelLayout(
        transfer_syntax=header.transfer_syntax,
        little_endian=header.little_endian,
        offset=header.pixel_offset,
        length=header.pixel_bytes,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=bool(signed),
        padding=_padding(attributes, signed=bool(signed), allocated=allocated),
    )


def _padding(attributes: Attributes, *, signed: bool, allocated: int) -> tuple[int, int] | None:
    if allocated > 16:
        return None  # the attribute has 16 bits
    first = attributes.short("PixelPaddingValue", signed=signed)
    if first is None:
        return None
    last = attributes.short("PixelPaddingRangeLimit", signed=signed)
    last = first if last is None else last
    return (min(first, last), max(first, last))


def _patient_key(attributes: Attributes) -> str:
    """Of ID and name, without case and spaces, keyed; empty where the file has neither."""
    names = attributes.human("PatientID"), attributes.human("PatientName")
    identity = "\0".join("".join(name.split()).upper() for name in names)
    if identity == "\0":
        return ""
    return hashlib.blake2b(identity.encode(), key=_SECRET, digest_size=16).hexdigest()


def _words(attributes: Attributes, *, image_type: tuple[str, ...]) -> SequenceWords:
    return SequenceWords(
        series_description=attributes.human("SeriesDescription"),
        protocol_name=attributes.human("ProtocolName"),
        study_description=attributes.human("StudyDescription"),
        series_number=attributes.integer("SeriesNumber"),
        sequence_name=attributes.human("SequenceName") or attributes.human("PulseSequenceName"),
        scanning_sequence=attributes.words("ScanningSequence"),
        sequence_variant=attributes.words("SequenceVariant"),
        scan_options=attributes.words("ScanOptions"),
        image_type=image_type,
        contrast_agent=attributes.human("ContrastBolusAgent"),
        kernel=" ".join(attributes.words("ConvolutionKernel")),
        body_part=attributes.text("BodyPartExamined"),
        manufacturer=attributes.human("Manufacturer"),
        model=attributes.human("ManufacturerModelName"),
        repetition_time_ms=attributes.decimal("RepetitionTime"),
        inversion_time_ms=attributes.decimal("InversionTime"),
    )
