"""All that is numeric and not the network, behind one narrow interface of arrays.

What stands here is all that the rest of cmc-sdk uses of it.
"""

from __future__ import annotations

from cmc_sdk.runtime.core.accumulate import Accumulator, ring_size
from cmc_sdk.runtime.core.geometry import ModelGrid, boxes_overlap, extend_grid, model_grid
from cmc_sdk.runtime.core.intensity import (
    IntensityStatistics,
    intensity_statistics,
    normalise,
    normalised_background,
)
from cmc_sdk.runtime.core.sampling import sample_window
from cmc_sdk.runtime.core.windows import constant_value, gaussian_axes, longest_axis, window_starts

__all__ = [
    "Accumulator",
    "IntensityStatistics",
    "ModelGrid",
    "boxes_overlap",
    "constant_value",
    "extend_grid",
    "gaussian_axes",
    "intensity_statistics",
    "longest_axis",
    "model_grid",
    "normalise",
    "normalised_background",
    "ring_size",
    "sample_window",
    "window_starts",
]
