"""The planes of a multi-frame instance: Enhanced and Legacy Converted CT, MR and PET."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cmc_sdk.imaging.dicom.reading.attributes import Attributes
from cmc_sdk.imaging.dicom.reading.b_value import b_value
from cmc_sdk.imaging.dicom.reading.frames import Discriminators, Frame, Instance, Scaling
from cmc_sdk.imaging.dicom.reading.plane import MAPS, kinds_of, linear_mapping, numbers_text, rescale
from cmc_sdk.imaging.dicom.refusal import DicomError

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.tags import Keyword

__all__ = ["multi_frame"]

_FRAME_TYPES: tuple[Keyword, ...] = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")


class _Groups:
    """The functional groups of one frame: its own first, then those that all frames share."""

    def __init__(self, own: Attributes, shared: Attributes | None) -> None:
        self._own, self._shared = own, shared

    def group(self, group: Keyword) -> Attributes | None:
        found = self._own.first(group)
        return found if found is not None or self._shared is None else self._shared.first(group)

    def double(self, group: Keyword, keyword: Keyword) -> float | None:
        item = self.group(group)
        return None if item is None else item.double(keyword)

    def doubles_text(self, group: Keyword, keyword: Keyword) -> str:
        item = self.group(group)
        return "" if item is None else numbers_text(item.doubles(keyword))

    def text(self, group: Keyword, keyword: Keyword) -> str:
        item = self.group(group)
        return "" if item is None else item.text(keyword)

    def numbers(self, group: Keyword, keyword: Keyword, *, count: int) -> tuple[float, ...] | None:
        item = self.group(group)
        return None if item is None else item.decimals(keyword, count=count)


def multi_frame(attributes: Attributes, *, instance: Instance) -> list[Frame]:
    """The planes of an instance with functional groups, in the order in which it stores them.

    Raises:
        DicomError: Not as many groups as frames, or a scaling that cannot be right.
    """
    groups = attributes.items("PerFrameFunctionalGroupsSequence")
    if len(groups) != instance.frames:
        raise DicomError(
            "frames",
            f"{instance.path} announces {instance.frames} frames and describes {len(groups)}",
            mend="copy it again from its source",
        )
    shared = attributes.first("SharedFunctionalGroupsSequence")
    return [
        _frame(_Groups(own, shared), attributes, instance=instance, index=index) for index, own in enumerate(groups)
    ]


def _frame(groups: _Groups, attributes: Attributes, *, instance: Instance, index: int) -> Frame:
    types = next((item for tag in _FRAME_TYPES if (item := groups.group(tag)) is not None), None)
    frame_type = instance.words.image_type
    component = attributes.text("ComplexImageComponent")
    if types is not None:
        frame_type = tuple(word.upper() for word in types.words("FrameType")) or frame_type
        component = types.text("ComplexImageComponent") or component
    if {"LOCALIZER", "SCOUT"} & set(frame_type):
        raise DicomError("localizer", f"{instance.path} is a localizer", mend="give the scan itself")
    kinds = {*kinds_of(frame_type), *((component,) if component not in {"", "MIXED"} else ())}
    diffusion = groups.group("MRDiffusionSequence")
    gradient = None if diffusion is None else diffusion.first("DiffusionGradientDirectionSequence")
    # Of Legacy Converted: what the classic images had and no group holds.
    converted = groups.group("UnassignedPerFrameConvertedAttributesSequence")
    content = groups.group("FrameContentSequence")
    time = _long(content, "TemporalPositionIndex")
    acquired = groups.text("FrameContentSequence", "FrameAcquisitionDateTime")
    discriminators = Discriminators(
        image_type="\\".join(frame_type),
        sequence=groups.text("MRMetaboliteMapSequence", "MetaboliteMapDescription"),
        time=time or (converted.text("TemporalPositionIdentifier") if converted else ""),
        direction=numbers_text(gradient.doubles("DiffusionGradientOrientation")) if gradient else "",
        inversion_time=groups.doubles_text("MRModifierSequence", "InversionTimes"),
        trigger_time=groups.doubles_text("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
        kernel=groups.text("CTReconstructionSequence", "ConvolutionKernelGroup"),
        tube_voltage=groups.doubles_text("CTXRayDetailsSequence", "KVP"),
        flip_angle=groups.text("MRTimingAndRelatedParametersSequence", "FlipAngle"),
        stack=groups.text("FrameContentSequence", "StackID"),
        acquisition=_short(content, "FrameAcquisitionNumber") or attributes.text("AcquisitionNumber"),
        acquisition_time=acquired or attributes.text("AcquisitionDateTime"),
    )
    return Frame(
        instance=instance,
        index=index,
        position=groups.numbers("PlanePositionSequence", "ImagePositionPatient", count=3),
        orientation=groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", count=6),
        pixel_spacing=groups.numbers("PixelMeasuresSequence", "PixelSpacing", count=2),
        scaling=_scaling(groups, attributes, instance=instance),
        b_value=_b_value(diffusion, converted) if instance.modality == "MR" and not MAPS & kinds else None,
        echo_number=converted.integer("EchoNumbers") if converted else None,
        echo_time_ms=groups.double("MREchoSequence", "EffectiveEchoTime"),
        kinds=tuple(sorted(kinds)),
        discriminators=discriminators,
    )


def _long(item: Attributes | None, keyword: Keyword) -> str:
    value = None if item is None else item.long(keyword)
    return "" if value is None else str(value)


def _short(item: Attributes | None, keyword: Keyword) -> str:
    value = None if item is None else item.short(keyword)
    return "" if value is None else str(value)


def _b_value(diffusion: Attributes | None, converted: Attributes | None) -> float | None:
    """Of the diffusion group; a frame whose directionality is NONE is the image without a gradient."""
    if diffusion is not None:
        value = b_value(diffusion)
        return 0.0 if value is None and diffusion.text("DiffusionDirectionality").upper() == "NONE" else value
    return None if converted is None else b_value(converted)


def _scaling(groups: _Groups, attributes: Attributes, *, instance: Instance) -> Scaling:
    transformation = groups.group("PixelValueTransformationSequence")
    found = None if transformation is None else rescale(transformation, instance=instance)
    if found is not None:
        return found
    mapping = groups.group("RealWorldValueMappingSequence") or attributes.first("RealWorldValueMappingSequence")
    return Scaling() if mapping is None else linear_mapping(mapping, instance=instance)
