"""The planes of a multi-frame instance: Enhanced and Legacy Converted CT, MR and PET."""

from __future__ import annotations

from cmc_sdk.imaging.dicom.reading.attributes import Attributes
from cmc_sdk.imaging.dicom.reading.b_value import b_value
from cmc_sdk.imaging.dicom.reading.frames import Frame, Instance, Scaling
from cmc_sdk.imaging.dicom.reading.plane import MAPS, kinds_of, linear_mapping, numbers_text, rescale
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["multi_frame"]

_FRAME_TYPES = (0x00189226, 0x00189329, 0x00189751)  # MR, CT, PET


class _Groups:
    """The functional groups of one frame: its own first, then those that all frames share."""

    def __init__(self, own: Attributes, shared: Attributes | None) -> None:
        self._own, self._shared = own, shared

    def group(self, tag: int) -> Attributes | None:
        found = self._own.first(tag)
        return found if found is not None or self._shared is None else self._shared.first(tag)

    def double(self, group: int, tag: int) -> float | None:
        item = self.group(group)
        return None if item is None else item.double(tag)

    def text(self, group: int, tag: int) -> str:
        item = self.group(group)
        return "" if item is None else item.text(tag)

    def numbers(self, group: int, tag: int, *, count: int) -> tuple[float, ...] | None:
        item = self.group(group)
        return None if item is None else item.decimals(tag, count=count)


def multi_frame(attributes: Attributes, *, instance: Instance) -> list[Frame]:
    """The planes of an instance with functional groups, in the order in which it stores them.

    Raises:
        DicomError: Not as many groups as frames, or a scaling that cannot be right.
    """
    groups = attributes.items(0x52009230)
    if len(groups) != instance.frames:
        raise DicomError(
            "frames",
            f"{instance.path} announces {instance.frames} frames and describes {len(groups)}",
            mend="copy it again from its source",
        )
    shared = attributes.first(0x52009229)
    return [
        _frame(_Groups(own, shared), attributes, instance=instance, index=index) for index, own in enumerate(groups)
    ]


def _frame(groups: _Groups, attributes: Attributes, *, instance: Instance, index: int) -> Frame:
    types = next((item for tag in _FRAME_TYPES if (item := groups.group(tag)) is not None), None)
    frame_type = instance.words.image_type
    component = attributes.text(0x00089208)
    if types is not None:
        frame_type = tuple(word.upper() for word in types.words(0x00089007)) or frame_type
        component = types.text(0x00089208) or component
    if {"LOCALIZER", "SCOUT"} & set(frame_type):
        raise DicomError("localizer", f"{instance.path} is a localizer", mend="give the scan itself")
    kinds = {*kinds_of(frame_type), *((component,) if component not in {"", "MIXED"} else ())}
    diffusion = groups.group(0x00189117)
    gradient = None if diffusion is None else diffusion.first(0x00189076)
    converted = groups.group(0x00209171)  # Legacy Converted: what the classic images had and no group holds
    keys = (
        "\\".join(frame_type),
        groups.text(0x00189152, 0x00189080),
        _number(groups.group(0x00209111), 0x00209128) or (converted.text(0x00200100) if converted else ""),
        numbers_text(gradient.doubles(0x00189089)) if gradient else "",
        numbers_text(item.doubles(0x00189079)) if (item := groups.group(0x00189115)) else "",
        numbers_text(item.doubles(0x00209153)) if (item := groups.group(0x00189118)) else "",
        "",
        groups.text(0x00189314, 0x00189316),
        numbers_text(item.doubles(0x00180060)) if (item := groups.group(0x00189325)) else "",
        groups.text(0x00189112, 0x00181314),
        groups.text(0x00209111, 0x00209056),
        _short(groups.group(0x00209111), 0x00209156) or attributes.text(0x00200012),
        groups.text(0x00209111, 0x00189074) or attributes.text(0x0008002A),
    )
    return Frame(
        instance=instance,
        index=index,
        position=groups.numbers(0x00209113, 0x00200032, count=3),
        orientation=groups.numbers(0x00209116, 0x00200037, count=6),
        pixel_spacing=groups.numbers(0x00289110, 0x00280030, count=2),
        scaling=_scaling(groups, attributes, instance=instance),
        b_value=_b_value(diffusion, converted) if instance.modality == "MR" and not MAPS & kinds else None,
        echo_number=converted.integer(0x00180086) if converted else None,
        echo_time_ms=groups.double(0x00189114, 0x00189082),
        kinds=tuple(sorted(kinds)),
        keys=keys,
    )


def _number(item: Attributes | None, tag: int) -> str:
    value = None if item is None else item.long(tag)
    return "" if value is None else str(value)


def _short(item: Attributes | None, tag: int) -> str:
    value = None if item is None else item.short(tag)
    return "" if value is None else str(value)


def _b_value(diffusion: Attributes | None, converted: Attributes | None) -> float | None:
    """Of the diffusion group; a frame whose directionality is NONE is the image without a gradient."""
    if diffusion is not None:
        value = b_value(diffusion)
        return 0.0 if value is None and diffusion.text(0x00189075).upper() == "NONE" else value
    return None if converted is None else b_value(converted)


def _scaling(groups: _Groups, attributes: Attributes, *, instance: Instance) -> Scaling:
    transformation = groups.group(0x00289145)
    found = None if transformation is None else rescale(transformation, instance=instance)
    if found is not None:
        return found
    mapping = groups.group(0x00409096) or attributes.first(0x00409096)
    return Scaling() if mapping is None else linear_mapping(mapping, instance=instance)
