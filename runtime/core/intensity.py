"""Intensity statistics of a volume in one streaming pass, and what they are for: normalising windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core import _native
from cmc_sdk.runtime.core._native import Threads
from cmc_sdk.runtime.core.geometry import as_affine
from cmc_sdk.runtime.core.volumes import readable

__all__ = ["IntensityStatistics", "intensity_statistics", "normalise", "normalised_background"]

Corner = tuple[int, int, int]


@dataclass(frozen=True)
class IntensityStatistics:
    """What one pass over a volume finds.

    Args:
        background: Raw value of the surroundings: the constant border value if there is one, else the minimum.
        has_border: Whether 19 of 20 voxels of the volume's outer faces (of axes with three voxels or more; those of an
            edge count for each of its faces) hold one value.
        mean: Mean of the clipped foreground; of the clipped background if there is no foreground.
        std: Standard deviation of the clipped foreground, 0 if there is none.
        minimum: Smallest raw value; NaN if not `finite`.
        maximum: Largest raw value; NaN if not `finite`.
        finite: Whether every voxel is finite. If not, the other figures mean nothing.
        foreground_fraction: Share of voxels that are foreground.
        foreground_mean: Raw, unclipped mean of the foreground; of all voxels if there is none.
        body_box_vox: Half-open box (first, end) of the foreground in source voxels; the whole volume if there is none.
    """

    background: float
    has_border: bool
    mean: float
    std: float
    minimum: float
    maximum: float
    finite: bool
    foreground_fraction: float
    foreground_mean: float
    body_box_vox: tuple[Corner, Corner]


def intensity_statistics(volume: Volume, rule: IntensityRule, *, threads: Threads | None = None) -> IntensityStatistics:
    """Statistics of `volume` under `rule`, reading it slab by slab.

    Foreground are the voxels that differ from the volume's constant border value, or, where its border is not constant,
    those > 0 (method 4, "Intensity"). A border is constant although a body touches it with up to one voxel in 20: a
    brain without its skull often reaches the lowest plane. The figures do not depend on the number of `threads` (None:
    one).
    """
    found = _native.statistics(
        readable(volume),
        as_affine(volume.affine_mm),
        volume.slope,
        volume.intercept,
        rule.clip,
        rule.scale,
        threads or Threads(1),
    )
    (x, y, z), (i, j, k) = found.body_box
    return IntensityStatistics(
        background=found.background,
        has_border=found.has_border,
        mean=found.mean,
        std=found.std,
        minimum=found.minimum,
        maximum=found.maximum,
        finite=found.finite,
        foreground_fraction=found.foreground_fraction,
        foreground_mean=found.foreground_mean,
        body_box_vox=((x, y, z), (i, j, k)),
    )


def normalise(
    window: npt.NDArray[Any], *, rule: IntensityRule, statistics: IntensityStatistics
) -> npt.NDArray[np.float32]:
    """The network's input from raw values: clip, then z-score or map to [0, 1]; a new float32 array.

    A foreground without spread (std 0) is only shifted by its mean, not divided.
    """
    out = np.array(window, dtype=np.float32, order="C")
    _native.normalise(out, rule.clip, rule.scale, statistics.mean, statistics.std)
    return out


def normalised_background(rule: IntensityRule, statistics: IntensityStatistics) -> float:
    """The value that a voxel outside the volume has after `normalise`."""
    return float(normalise(np.array([statistics.background], np.float32), rule=rule, statistics=statistics)[0])
