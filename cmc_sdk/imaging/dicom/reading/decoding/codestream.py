"""The size that a compressed image says of itself, without decoding it."""

from __future__ import annotations

import struct

__all__ = ["codestream_size"]

# Start-of-frame markers: baseline, extended, progressive, lossless (C0 to CF without DHT, JPG and DAC), and JPEG-LS.
_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
_ALONE = {0x01, 0xFF, *range(0xD0, 0xD8)}


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG, JPEG-LS or JPEG 2000 code stream; None where it is none, or ends before it says."""
    if data.startswith(b"\xff\x4f\xff\x51") and len(data) >= 24:
        right, below, left, above = struct.unpack(">4I", data[8:24])
        return (below - above, right - left)
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_MARKERS:
            return struct.unpack(">HH", data[at + 5 : at + 9]) if at + 9 <= len(data) else None
        if marker in {0xD9, 0xDA}:
            return None
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None
