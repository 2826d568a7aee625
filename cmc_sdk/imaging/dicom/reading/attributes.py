"""Attributes of a data set as plain Python values, from the raw bytes: nothing in them can raise, warn or hang."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

    from cmc_sdk.imaging.dicom.tags import Keyword, Name

__all__ = ["Attributes"]

_LONG = 1024
# An item without content is eight bytes of file and a thousand of memory.
_EMPTY_ITEM, _MOST_EMPTY_ITEMS = b"\xfe\xff\x00\xe0\0\0\0\0", 1000
_SPACES = " \0\t\r\n"


class Attributes:
    """A view of a pydicom data set that was read and not yet converted.

    A value that is absent, empty or malformed is None (or empty, for text): whoever needs it refuses the file by name.
    pydicom's own conversion is several times slower and warns or raises on what real files hold.

    An attribute of the standard goes by its keyword, a private one by its tag (see `block`).

    Args:
        dataset: The data set.
        encodings: Python codecs of its Specific Character Set.
    """

    __slots__ = ("_dataset", "_elements", "_encodings", "_tags")

    def __init__(self, dataset: Dataset, *, encodings: list[str] | None = None) -> None:
        self._dataset = dataset
        self._tags = _tags()
        # By plain integers: pydicom's own look-up makes a tag object each time, which is most of the cost of a scan.
        self._elements = {int(element.tag): element for element in dataset.values()}
        self._encodings = encodings or ["iso8859"]

    def _element(self, tag: Name) -> DataElement | RawDataElement | None:
        return self._elements.get(tag if isinstance(tag, int) else self._tags[tag])

    def _value(self, tag: Name) -> object:
        # `_element`, written out: a scan asks some forty times for each file.
        element = self._elements.get(tag if isinstance(tag, int) else self._tags[tag])
        return None if element is None else element.value

    def _raw(self, tag: Name) -> bytes | None:
        value = self._value(tag)
        return value if isinstance(value, bytes) else None

    def _number(self, tag: Name) -> tuple[bytes | None, str]:
        element = self._element(tag)
        value = None if element is None else element.value
        little = getattr(element, "is_little_endian", True)
        return (value if isinstance(value, bytes) else None), ("<" if little else ">")

    def raw(self, tag: Name) -> bytes:
        """The bytes of an attribute; empty where it is absent."""
        return self._raw(tag) or b""

    def text(self, tag: Name) -> str:
        """Plain text of the first value: a code string, a UID, a number."""
        words = self.words(tag)
        return words[0] if words else ""

    def words(self, tag: Name) -> tuple[str, ...]:
        """All values of a code string, UID or number as text."""
        value = self._value(tag)
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if not isinstance(value, str) or not (value := value.strip(_SPACES)):
            return ()
        if not value.isprintable() or len(value) > _LONG:
            value = _printable(value)
        words = tuple(word.strip(_SPACES) for word in value.split("\\"))
        return words if any(words) else ()

    def human(self, tag: Name) -> str:
        """Text in the file's character set, on one line."""
        value = self._raw(tag)
        if not value:
            return ""
        from pydicom.charset import decode_bytes

        try:
            text = value.decode("ascii") if value.isascii() and b"\x1b" not in value else ""
            text = text or decode_bytes(value, self._encodings, {0x0D, 0x0A, 0x09, 0x0C})
        except (LookupError, UnicodeError, ValueError):
            text = value.decode("latin-1")
        return " ".join(_printable(text).split())

    def decimals(self, tag: Name, *, count: int) -> tuple[float, ...] | None:
        """Exactly `count` numbers written as text (DS, IS), NaN and infinities included."""
        words = self.words(tag)
        if len(words) != count:
            return None
        try:
            return tuple(float(word) for word in words)
        except ValueError:
            return None

    def decimal(self, tag: Name) -> float | None:
        """The first number of a list written as text."""
        words = self.words(tag)
        try:
            return float(words[0]) if words else None
        except ValueError:
            return None

    def integer(self, tag: Name) -> int | None:
        """The first integer of a list written as text (IS)."""
        number = self.decimal(tag)
        return int(number) if number is not None and abs(number) < 2**53 and number == int(number) else None

    def short(self, tag: Name, *, signed: bool = False) -> int | None:
        """The first 16-bit number (US, SS)."""
        numbers = self.shorts(tag, signed=signed)
        return numbers[0] if numbers else None

    def shorts(self, tag: Name, *, signed: bool = False) -> tuple[int, ...]:
        """All 16-bit numbers (US, SS)."""
        value, order = self._number(tag)
        if value is None or len(value) < 2:
            return ()
        return struct.unpack(f"{order}{len(value) // 2}{'h' if signed else 'H'}", value[: len(value) // 2 * 2])

    def long(self, tag: Name) -> int | None:
        """The first 32-bit number (UL)."""
        value, order = self._number(tag)
        return int(struct.unpack(f"{order}I", value[:4])[0]) if value is not None and len(value) >= 4 else None

    def double(self, tag: Name) -> float | None:
        """The first 64-bit float (FD)."""
        numbers = self.doubles(tag)
        return numbers[0] if numbers else None

    def doubles(self, tag: Name) -> tuple[float, ...]:
        """All 64-bit floats (FD)."""
        value, order = self._number(tag)
        if value is None or len(value) < 8:
            return ()
        return struct.unpack(f"{order}{len(value) // 8}d", value[: len(value) // 8 * 8])

    def single(self, tag: Name) -> float | None:
        """The first 32-bit float (FL)."""
        value, order = self._number(tag)
        return float(struct.unpack(f"{order}f", value[:4])[0]) if value is not None and len(value) >= 4 else None

    def items(self, tag: Name) -> list[Attributes]:
        """The items of a sequence; empty where it is absent or is none."""
        element = self._element(tag)
        if element is None:
            return []
        raw = self._raw(tag)
        if raw is not None and raw.count(_EMPTY_ITEM) > _MOST_EMPTY_ITEMS:
            return []
        value = self._dataset[element.tag].value
        if not hasattr(value, "__iter__") or isinstance(value, (bytes, str)):
            return []
        return [Attributes(item, encodings=self._encodings) for item in value if hasattr(item, "elements")]

    def first(self, tag: Name) -> Attributes | None:
        """The first item of a sequence."""
        items = self.items(tag)
        return items[0] if items else None

    def block(self, group: int, creator: str) -> int | None:
        """Where a maker's private attributes begin in `group`: element 0xEE of it has the tag `block | 0xEE`."""
        for element in range(0x10, 0x20):
            if group << 16 | element in self._elements and self.text(group << 16 | element).upper() == creator.upper():
                return group << 16 | element << 8
        return None

    def __contains__(self, tag: Name) -> bool:
        return self._element(tag) is not None


@cache
def _tags() -> Mapping[Keyword, int]:
    from cmc_sdk.imaging.dicom.tags import TAGS  # here: with pydicom, once something is read

    return TAGS


def _printable(text: str) -> str:
    """What a person can read of it: no control characters, and no more than fits a table."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_LONG])
