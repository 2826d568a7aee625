"""Small pictures inside a page, as PNG."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt

__all__ = ["data_uri", "encode_png"]

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture; equal pixels give equal bytes with the same Pillow.

    Args:
        pixels: uint8, (H, W) for grey, (H, W, 3) for RGB, (H, W, 4) for RGBA; row 0 at the top.

    Raises:
        ValueError: Another shape or dtype.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ValueError(f"pixels of shape {pixels.shape} and dtype {pixels.dtype} are not (H, W[, 3 or 4]) uint8")
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels not in _CHANNELS:
        raise ValueError(f"{channels} channels are not 1, 3 or 4")
    from PIL import Image  # here: only a page with pictures needs it

    buffer = io.BytesIO()
    shaped = pixels if channels > 1 else pixels.reshape(pixels.shape[:2])
    Image.fromarray(shaped).save(buffer, format="PNG")
    return buffer.getvalue()


def data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """The picture as a `data:` address, to stand inside a page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")
