"""All that is numeric and not the network: the native core behind one narrow interface of arrays.

What stands here is all that the rest of cmc-sdk uses of it. The core itself is C++17 (`cpp_bindings/core`).
"""

from __future__ import annotations

from cmc_sdk.runtime.core._native import Threads
from cmc_sdk.runtime.core.accumulate import Accumulator
from cmc_sdk.runtime.core.components import count_components
from cmc_sdk.runtime.core.distance import surface_distances
from cmc_sdk.runtime.core.geometry import ModelGrid, boxes_overlap, extend_grid, model_grid
from cmc_sdk.runtime.core.intensity import (
    IntensityStatistics,
    intensity_statistics,
    normalise,
    normalised_background,
)
from cmc_sdk.runtime.core.sampling import WindowSampler, sample_window
from cmc_sdk.runtime.core.windows import constant_value, gaussian_axes, longest_axis, ring_size, window_starts

__all__ = [
    "Accumulator",
    "IntensityStatistics",
    "ModelGrid",
    "Threads",
    "WindowSampler",
    "boxes_overlap",
    "constant_value",
    "count_components",
    "extend_grid",
    "gaussian_axes",
    "intensity_statistics",
    "longest_axis",
    "model_grid",
    "normalise",
    "normalised_background",
    "ring_size",
    "sample_window",
    "surface_distances",
    "window_starts",
]
