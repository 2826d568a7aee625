"""What hides around pixels: bytes after the last one, and comments inside compressed frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["clean_pixels"]

_JPEG_START, _JPEG2000_START = b"\xff\xd8", b"\xff\x4f"
_JPEG_DATA = frozenset({0xDA, 0xD9})
# Segments that a decoder may read: JFIF, SPIFF (JPEG-LS) and Adobe's, which names the colour transform.
_JPEG_NEEDED = frozenset({0xE0, 0xE8, 0xEE})
_JPEG2000_COMMENT, _JPEG2000_DATA = 0x64, 0x90


def clean_pixels(dataset: Dataset) -> int:
    """Cut what follows the last pixel, and overwrite comments in compressed frames by zeros of the same length.

    No pixel changes, by a bit or in its place.

    Args:
        dataset: With a file meta that names the transfer syntax.

    Returns:
        How many places were cleaned.
    """
    if "PixelData" not in dataset:
        return 0
    element = dataset["PixelData"]
    if not isinstance(element.value, bytes):
        return 0
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1))
        bits *= int(dataset.get("NumberOfFrames", 1) or 1) * int(dataset.BitsAllocated)
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            bits = bits * 2 // 3
        needed = (bits + 7) // 8
        needed += needed % 2
        if len(element.value) <= needed:
            return 0
        element.value = element.value[:needed]
        return 1
    cleaned, count = _clean_frames(element.value)
    if count:
        element.value = cleaned
    return count


def _clean_frames(value: bytes) -> tuple[bytes, int]:
    """Every item of an encapsulated value, walked as pydicom keeps it: tag, length, bytes."""
    data = bytearray(value)
    at, count = 0, 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        start, end = at + 8, at + 8 + length
        if data[at : at + 4] != b"\xfe\xff\x00\xe0" or end > len(data):
            break
        if data[start : start + 2] == _JPEG_START:
            count += _blank_jpeg(data, start + 2, end)
        elif data[start : start + 2] == _JPEG2000_START:
            count += _blank_jpeg2000(data, start + 2, end)
        at = end
    return bytes(data), count


def _blank_jpeg(data: bytearray, at: int, end: int) -> int:
    count = 0
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_DATA:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if (marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in _JPEG_NEEDED)) and at + 2 + length <= end:
            data[at + 4 : at + 2 + length] = bytes(max(length - 2, 0))
            count += 1
        at += 2 + length
    return count


def _blank_jpeg2000(data: bytearray, at: int, end: int) -> int:
    count = 0
    while at + 4 <= end and data[at] == 0xFF and data[at + 1] != _JPEG2000_DATA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == _JPEG2000_COMMENT and at + 2 + length <= end:
            data[at + 6 : at + 2 + length] = bytes(max(length - 4, 0))  # two bytes of length, two of registration
            count += 1
        at += 2 + length
    return count
