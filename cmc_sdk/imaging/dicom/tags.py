"""The attributes of the standard that are looked up by tag, under the standard's keywords.

pydicom's dictionary says which tag a keyword has, so this is imported where pydicom is: once something is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pydicom.datadict import tag_for_keyword

__all__ = ["TAGS", "Keyword", "Name"]

Keyword = Literal[
    # The file meta information, and what the file is.
    "MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID",
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PatientName", "PatientID", "Modality", "ImageType",
    # How the scan was made.
    "StudyDescription", "SeriesDescription", "SeriesNumber", "ProtocolName", "BodyPartExamined",
    "Manufacturer", "ManufacturerModelName", "ContrastBolusAgent", "ConvolutionKernel", "KVP",
    "ScanningSequence", "SequenceVariant", "ScanOptions", "SequenceName", "PulseSequenceName",
    "RepetitionTime", "EchoTime", "EchoNumbers", "InversionTime", "TriggerTime", "FlipAngle",
    "AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime", "TemporalPositionIdentifier",
    "DiffusionBValue", "DiffusionGradientOrientation", "DiffusionDirectionality", "ComplexImageComponent",
    # Where a plane lies.
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    # Pixels and what they mean.
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "LossyImageCompression",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "LUTDescriptor", "LUTData",
    "RealWorldValueMappingSequence", "RealWorldValueSlope", "RealWorldValueIntercept",
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    # Functional groups of multi-frame instances, and what is in them.
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "UnassignedPerFrameConvertedAttributesSequence", "FrameContentSequence", "PlanePositionSequence",
    "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence",
    "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence", "FrameType",
    "MRDiffusionSequence", "DiffusionGradientDirectionSequence", "MREchoSequence", "EffectiveEchoTime",
    "MRMetaboliteMapSequence", "MetaboliteMapDescription", "MRModifierSequence", "InversionTimes",
    "MRTimingAndRelatedParametersSequence", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime",
    "CTReconstructionSequence", "ConvolutionKernelGroup", "CTXRayDetailsSequence",
    "StackID", "TemporalPositionIndex", "FrameAcquisitionNumber", "FrameAcquisitionDateTime",
    # Contours.
    "ContourData",
]  # fmt: skip
"""What may be looked up: a type checker finds a misspelt keyword where it is used."""

Name = Keyword | int
"""What an attribute goes by: its keyword, or the tag of a private one."""


def _resolved() -> dict[Keyword, int]:
    tags: dict[Keyword, int] = {}
    for keyword in get_args(Keyword):
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise LookupError(f"{keyword} is no keyword of the DICOM standard")
        tags[keyword] = tag
    return tags


TAGS: Mapping[Keyword, int] = _resolved()
"""Group and element of each keyword as one number, group * 65536 + element."""
