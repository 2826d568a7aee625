"""A volume's stored voxels as the core reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.volume import Volume

__all__ = ["readable"]


def readable(volume: Volume) -> npt.NDArray[Any]:
    """`volume.stored` itself wherever the core can read it; a copy in native byte order or as float otherwise."""
    stored = volume.stored
    if stored.dtype == np.bool_:
        return stored.view(np.uint8)
    if stored.dtype.kind == "f" and stored.dtype.itemsize not in (4, 8):
        return stored.astype(np.float32 if stored.dtype.itemsize == 2 else np.float64)
    if not stored.dtype.isnative:
        stored = stored.astype(stored.dtype.newbyteorder("="))
    if any(stride % stored.itemsize for stride in stored.strides):
        stored = np.ascontiguousarray(stored)
    return stored
