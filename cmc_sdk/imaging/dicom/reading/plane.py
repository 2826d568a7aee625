"""One plane of a classic instance (one image a file), and what both kinds of instance share."""

from __future__ import annotations

import math

from cmc_sdk.imaging.dicom.reading.attributes import Attributes
from cmc_sdk.imaging.dicom.reading.b_value import b_value
from cmc_sdk.imaging.dicom.reading.frames import Discriminators, Frame, Instance, Scaling
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["MAPS", "classic_frame", "kinds_of", "linear_mapping", "numbers_text", "rescale"]

# Words of Image Type that say which quantity an image shows: images that differ in them are never one volume.
_KINDS = {
    "M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "ADC", "FA", "TRACEW", "TENSOR",
    "W", "WATER", "F", "FAT", "IP", "IN_PHASE", "OP", "OPP_PHASE", "OUT_PHASE", "FATFRACTION", "T1 MAP", "T2 MAP",
    "T2_STAR MAP", "R2_STAR MAP", "B0 MAP", "FIELD_MAP", "CBF", "CBV", "MTT", "TTP", "TMAX", "MIP", "PROJECTION IMAGE",
    "PHASE MAP", "VELOCITY", "EXP",
}  # fmt: skip
# Maps that were computed from several b-values: a b-value in their headers is one of those, not theirs.
MAPS = {"ADC", "FA", "TENSOR"}


def classic_frame(attributes: Attributes, *, instance: Instance) -> Frame:
    """The plane of an instance that holds one.

    Raises:
        DicomError: Its scaling cannot be right.
    """
    words = instance.words
    kinds = kinds_of(words.image_type)
    block = attributes.block(0x0019, "SIEMENS MR HEADER") if instance.modality == "MR" else None
    direction = attributes.doubles("DiffusionGradientOrientation")
    if not direction and block is not None:
        direction = attributes.doubles(block | 0x0E)
    discriminators = Discriminators(
        image_type="\\".join(words.image_type),
        sequence=words.sequence_name,
        time=attributes.text("TemporalPositionIdentifier"),
        direction=numbers_text(direction),
        inversion_time=attributes.text("InversionTime"),
        trigger_time=attributes.text("TriggerTime"),
        contrast_agent=words.contrast_agent,
        kernel=words.kernel,
        tube_voltage=attributes.text("KVP"),
        flip_angle=attributes.text("FlipAngle"),
        acquisition=attributes.text("AcquisitionNumber"),
        acquisition_time=attributes.text("AcquisitionTime"),
    )
    return Frame(
        instance=instance,
        index=0,
        position=attributes.decimals("ImagePositionPatient", count=3),
        orientation=attributes.decimals("ImageOrientationPatient", count=6),
        pixel_spacing=attributes.decimals("PixelSpacing", count=2),
        scaling=_scaling(attributes, instance=instance),
        b_value=b_value(attributes) if instance.modality == "MR" and not MAPS & set(kinds) else None,
        echo_number=attributes.integer("EchoNumbers"),
        echo_time_ms=attributes.decimal("EchoTime"),
        kinds=kinds,
        discriminators=discriminators,
    )


def kinds_of(image_type: tuple[str, ...]) -> tuple[str, ...]:
    """The words of an Image Type or Frame Type, after the first two, that say which quantity it shows."""
    return tuple(sorted(_KINDS & set(image_type[2:])))


def numbers_text(numbers: tuple[float, ...]) -> str:
    """Numbers as a key to compare: rounded, so that noise in the last digit does not tell two images apart."""
    return " ".join(f"{number:.4g}" for number in numbers)


def rescale(attributes: Attributes, *, instance: Instance) -> Scaling | None:
    """Rescale Slope and Intercept; None where there is neither.

    Raises:
        DicomError: One without the other, a slope of 0, or numbers that are not finite.
    """
    if not attributes.words("RescaleSlope") and not attributes.words("RescaleIntercept"):
        return None
    slope, intercept = attributes.decimal("RescaleSlope"), attributes.decimal("RescaleIntercept")
    return _checked(slope, intercept, instance=instance)


def linear_mapping(item: Attributes, *, instance: Instance) -> Scaling:
    """One item of the Real World Value Mapping Sequence.

    Raises:
        DicomError: It is a table, or its numbers cannot be right.
    """
    return _checked(item.double("RealWorldValueSlope"), item.double("RealWorldValueIntercept"), instance=instance)


def _scaling(attributes: Attributes, *, instance: Instance) -> Scaling:
    """Rescale first, since every other reader takes it, then the modality's lookup table, then the real-world value."""
    found = rescale(attributes, instance=instance)
    if found is not None:
        return found
    if attributes.items("ModalityLUTSequence"):
        return Scaling(lookup=True)
    mapping = attributes.first("RealWorldValueMappingSequence")
    return Scaling() if mapping is None else linear_mapping(mapping, instance=instance)


def _checked(slope: float | None, intercept: float | None, *, instance: Instance) -> Scaling:
    good = slope is not None and intercept is not None and math.isfinite(slope) and math.isfinite(intercept)
    if slope is None or intercept is None or not good or slope == 0 or max(abs(slope), abs(intercept)) > 1e30:
        raise DicomError(
            "rescale",
            f"{instance.path}: its values cannot be had from what is stored (slope {slope}, intercept {intercept})",
            mend="convert it again from its source",
        )
    return Scaling(slope, intercept)
