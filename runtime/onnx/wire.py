"""The wire format of protocol buffers, read field by field: the one reader of everything here that looks into a graph.

A message is a list of (field number, wire type, value), and what a number means stands in the message's definition, not
in the file. Fields with a length are handed out as views and not copied, so that a graph of hundreds of megabytes is
read in microseconds as long as nobody looks into its weights.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["NOTHING", "Field", "WireError", "as_message", "as_number", "as_text", "fields_of"]

Field = int | memoryview
"""A field's value: a number, or the bytes of a text, a message, packed numbers or weights."""

NOTHING = memoryview(b"")
"""What stands in a field with a length that is not in the file: a text without letters, a message without fields."""

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10


class WireError(ValueError):
    """The bytes are not a message, or a field holds another kind of value than its number says."""


def fields_of(view: memoryview) -> Iterator[tuple[int, Field]]:
    """(number, value) of a message's fields, in the file's order.

    Floats and integers of fixed width are skipped: no field that is looked at has one. Nothing is read ahead: a fault
    is raised only after the fields before it have been handed out.

    Args:
        view: The message's bytes.

    Raises:
        WireError: A field reaches beyond the end, a number has more than ten bytes, or a wire type is not known (groups
            are not: ONNX has none).
    """
    position = 0
    while position < len(view):
        key, position = _read_varint(view, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _read_varint(view, position)
            yield number, value
        elif wire == _LENGTH:
            length, start = _read_varint(view, position)
            position = start + length
            if position > len(view):
                raise WireError("a field is longer than what holds it")
            yield number, view[start:position]
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            position += 8 if wire == _EIGHT_BYTES else 4
            if position > len(view):
                raise WireError("a field is longer than what holds it")
        else:
            raise WireError(f"wire type {wire} is not known")


def as_message(value: Field) -> memoryview:
    """The bytes of a field that holds a message.

    Raises:
        WireError: It holds a number.
    """
    if isinstance(value, int):
        raise WireError("a number stands where a message belongs")
    return value


def as_text(value: Field) -> str:
    """The text of a field.

    Raises:
        WireError: It holds a number, or bytes that are not UTF-8.
    """
    try:
        return str(as_message(value), "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("a text is not UTF-8") from error


def as_number(value: Field) -> int:
    """The number of a field, as the file has it: 2^64 stands in for the sign of a negative one.

    Raises:
        WireError: It holds bytes.
    """
    if not isinstance(value, int):
        raise WireError("a message stands where a number belongs")
    return value


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    """The number that starts at `position`, seven bits a byte, lowest first; and where it ends."""
    value = 0
    for index in range(_MOST_VARINT_BYTES):
        if position >= len(view):
            raise WireError("the end lies within a number")
        byte = view[position]
        position += 1
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position
    raise WireError("a number is too long")
