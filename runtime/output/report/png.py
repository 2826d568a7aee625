"""PNG files of small pictures, with the standard library alone, since the runtime carries no imaging package."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

__all__ = ["data_uri", "encode_png"]

_COLOR_TYPE = {1: 0, 3: 2, 4: 6}  # channels → grey, RGB, RGBA
_ROW_UP = 2  # each row as its difference from the row above: labels and air become zeros


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture.

    Args:
        pixels: uint8, (H, W) for grey, (H, W, 3) for RGB, (H, W, 4) for RGBA; row 0 at the top.

    Raises:
        ValueError: Another shape or dtype.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ValueError(f"pixels of shape {pixels.shape} and dtype {pixels.dtype} are not (H, W[, 3 or 4]) uint8")
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels not in _COLOR_TYPE:
        raise ValueError(f"{channels} channels are not 1, 3 or 4")
    rows = np.ascontiguousarray(pixels).reshape(height, width * channels)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _ROW_UP
    filtered[:, 1:] = rows - above  # modulo 256, as the format wants it
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPE[channels], 0, 0, 0)
    body = zlib.compress(filtered.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """The picture as a `data:` address, to stand inside a page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
