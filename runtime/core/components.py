"""Counting the connected pieces of a label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.core import _native

__all__ = ["count_components"]


def count_components(labels: npt.NDArray[np.uint8], *, num_classes: int) -> list[int]:
    """Number of 6-connected pieces of every class 0 … K-1 of a label array (X, Y, Z); 0 for the background."""
    return _native.count_components(labels, num_classes)
