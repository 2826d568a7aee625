"""What happens to an attribute: the table of PS3.15 first, then a rule for what the table does not name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.tags import Keyword

__all__ = ["EDITION", "Action", "action_for"]

Action = Literal["removed", "emptied", "replaced", "new UID", "cleaned", "kept"]

EDITION = "2024b"
"""Of PS3.15 table E.1-1."""

# The profile names a type by what a conforming object may do without: X none, Z empty, D a value. Where it leaves a
# choice (X/Z, X/D, Z/D, X/Z/D) the later letter keeps every object valid.
_BY_CATEGORY: dict[str, Action] = {
    "X_TAGS": "removed",
    "Z_TAGS": "emptied",
    "X_Z_TAGS": "emptied",
    "D_TAGS": "replaced",
    "Z_D_TAGS": "replaced",
    "X_D_TAGS": "replaced",
    "X_Z_D_TAGS": "replaced",
    "U_TAGS": "new UID",
    "X_Z_U_STAR_TAGS": "new UID",
}
_TEXT = frozenset({"PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE"})
_DATES = frozenset({"DA", "TM", "DT", "AS"})
_BYTES = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN"})
# Pixel data as integers and floats, where its frames begin, and the table that turns stored values into true ones.
_PIXELS: tuple[Keyword, ...] = (
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    "LUTData",
)  # fmt: skip


@cache
def _pixel_tags() -> frozenset[int]:
    from cmc_sdk.imaging.dicom.tags import TAGS

    return frozenset(TAGS[keyword] for keyword in _PIXELS)


@cache
def _table() -> tuple[dict[int, Action], tuple[tuple[int, int, Action], ...]]:
    """Actions by tag, and (value, mask, action) of the tags that stand for a range, as dicom-anonymizer lists them."""
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    database = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    single: dict[int, Action] = {}
    ranges: list[tuple[int, int, Action]] = []
    for category, action in _BY_CATEGORY.items():
        for tag in database[category]:
            number = tag[0] << 16 | tag[1]
            if len(tag) == 2:
                single[number] = action
            else:
                mask = tag[2] << 16 | tag[3]
                ranges.append((number & mask, mask, action))
    return single, tuple(ranges)


def action_for(tag: int, vr: str) -> Action:
    """What happens to an attribute that is not private.

    The table leaves attributes alone that it does not name, and any of them may hold a name by mistake. So text that
    it does not name is replaced unless a rule of `vocabulary` knows it ("cleaned"), dates go, and bytes go that are no
    pixels. Numbers stay.

    Args:
        tag: Group and element.
        vr: Value representation.
    """
    single, ranges = _table()
    named = single.get(tag)
    if named is None:
        named = next((action for value, mask, action in ranges if tag & mask == value), None)
    if named is not None:
        # There is no dummy of an item that would say nothing.
        return "removed" if vr == "SQ" and named == "replaced" else named
    if vr in _TEXT or vr in {"CS", "UI", "SQ", "IS", "DS"}:
        return "cleaned"
    if vr in _DATES or (_BYTES & set(vr.split(" or ")) and tag not in _pixel_tags()):
        return "removed"
    return "kept"
