"""What one scan became, before it is judged and written down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Labelled"]


@dataclass(frozen=True)
class Labelled:
    """What one modality's scan became, on its own grid.

    Args:
        labels: (X, Y, Z) uint8.
        confidence: (X, Y, Z) uint8, in steps of 1/255: softmax of the label.
        counts: (K,) voxels by class.
        confidence_sums: (K,) summed confidence in [0, 1] by class.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.int64]
    confidence_sums: npt.NDArray[np.float64]
