"""What a class is called in DICOM: coded concepts and colours of a class table."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from cmc_sdk.imaging.classes import Code, SegmentClass

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["PRIVATE_SCHEME", "category_of", "cielab_of", "code_item", "plain_text", "private_scheme_item", "type_of"]

PRIVATE_SCHEME = "99CMC"

_ANATOMY = Code(value="91723000", meaning="Anatomical Structure")
_LESION = Code(value="49755003", meaning="Morphologically Abnormal Structure")
_UNCODED = Code(value="309825002", meaning="Spatial and Relational Concept")

# D65, the white point of sRGB: the programs that show these colours (dcmqi, 3D Slicer, highdicom) turn them back with
# it.
_WHITE = (0.95047, 1.0, 1.08883)


def plain_text(text: str, *, most: int = 64) -> str:
    """`text` as one value of DICOM: no backslash, which would part it, no control characters, `most` characters."""
    return "".join(" " if ord(character) < 32 else character for character in text.replace("\\", "/"))[:most]


def type_of(item: SegmentClass) -> Code:
    """The coded concept of a class: its SNOMED CT code, or one of the private scheme 99CMC made from its name.

    No SNOMED CT code is ever made up. The private value is the name, where it fits in the 16 characters of a code
    value, else its start and a hash of it, so that equal names have equal codes.
    """
    if item.snomed is not None:
        return Code(value=item.snomed.value, scheme=item.snomed.scheme, meaning=plain_text(item.snomed.meaning))
    value = re.sub(r"[^A-Za-z0-9_-]+", "_", item.name).strip("_")
    if value != item.name or len(value) > 16:
        value = f"{value[:11]}-{hashlib.sha256(item.name.encode()).hexdigest()[:4]}"
    return Code(value=value, scheme=PRIVATE_SCHEME, meaning=plain_text(item.name))


def category_of(item: SegmentClass) -> Code:
    """Its category of CID 7150: lesions of CID 7159, else anatomy; for an uncoded class the one that claims least."""
    from pydicom.sr.codedict import codes

    if item.snomed is None:
        return _UNCODED
    lesions = codes.cid7159
    known = {getattr(lesions, name).value for name in lesions.dir()}
    return _LESION if item.snomed.value in known else _ANATOMY


def code_item(code: Code) -> Dataset:
    """`code` as an item of a code sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


def private_scheme_item() -> Dataset:
    """The declaration of 99CMC, for Coding Scheme Identification Sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "Classes named by the maker of a cmc-sdk bundle"
    item.CodingSchemeResponsibleOrganization = "cmc-sdk"
    return item


def cielab_of(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """sRGB, 0 to 255, as DICOM's CIELab triple of 16-bit integers (PS3.3 C.10.7.1.1).

    L* of 0 to 100 and a*, b* of -128 to 127 are each spread over 0 to 65535.
    """
    linear = [_linear(channel / 255.0) for channel in color]
    rows = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
    x, y, z = (
        _cube_root(sum(weight * channel for weight, channel in zip(row, linear, strict=True)) / white)
        for row, white in zip(rows, _WHITE, strict=True)
    )
    lightness, a, b = 116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)
    scaled = (lightness / 100.0, (a + 128.0) / 255.0, (b + 128.0) / 255.0)
    first, second, third = (round(min(max(value, 0.0), 1.0) * 65535.0) for value in scaled)
    return (first, second, third)


def _linear(channel: float) -> float:
    return float(channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4)


def _cube_root(value: float) -> float:
    return float(value ** (1.0 / 3.0) if value > 216.0 / 24389.0 else (24389.0 / 27.0 * value + 16.0) / 116.0)
