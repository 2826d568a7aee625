"""Intensity statistics of a volume in one streaming pass, and what they are for: normalising windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core import IntensityStatistics

__all__ = ["intensity_statistics", "normalise", "normalised_background"]

Corner = tuple[int, int, int]
SLAB_VOXELS = 1 << 20


def intensity_statistics(volume: Volume, rule: IntensityRule) -> IntensityStatistics:
    """Statistics of `volume` under `rule`, reading it slab by slab.

    Foreground are the voxels that differ from the volume's constant border value, or, where its border is not constant,
    those > 0 (method 4, "Intensity").
    """
    border = _border_value(volume)
    tally = _Tally(volume.size_vox)
    for start, axis, values in _slabs(volume):
        if not tally.add(values, start=start, axis=axis, border=border, clip=rule.clip):
            nan = math.nan
            return IntensityStatistics(nan, False, nan, nan, nan, nan, False, nan, nan, tally.box())
    background = tally.minimum if border is None else border
    count, voxels = tally.count, volume.stored.size
    clipped_background = float(np.clip(background, *rule.clip)) if rule.clip else background
    return IntensityStatistics(
        background=background,
        has_border=border is not None,
        mean=tally.mean if count else clipped_background,
        std=math.sqrt(max(0.0, tally.squares / count)) if count else 0.0,
        minimum=tally.minimum,
        maximum=tally.maximum,
        finite=True,
        foreground_fraction=count / voxels,
        foreground_mean=tally.raw_sum / count if count else tally.total / voxels,
        body_box_vox=tally.box(),
    )


def normalise(
    window: npt.NDArray[Any], *, rule: IntensityRule, statistics: IntensityStatistics
) -> npt.NDArray[np.float32]:
    """The network's input from raw values: clip, then z-score or map to [0, 1]; a new float32 array.

    A foreground without spread (std 0) is only shifted by its mean, not divided.
    """
    out = np.array(window, dtype=np.float32)
    if rule.clip is not None:
        np.clip(out, np.float32(rule.clip[0]), np.float32(rule.clip[1]), out=out)
    if rule.scale == "unit_range" and rule.clip is not None:
        shift, divisor = rule.clip[0], rule.clip[1] - rule.clip[0]
    else:
        shift, divisor = statistics.mean, statistics.std if statistics.std > 0 else 1.0
    out -= np.float32(shift)
    out /= np.float32(divisor)
    return out


def normalised_background(rule: IntensityRule, statistics: IntensityStatistics) -> float:
    """The value that a voxel outside the volume has after `normalise`."""
    return float(normalise(np.array([statistics.background], np.float32), rule=rule, statistics=statistics)[0])


class _Tally:
    """Sums that slabs are added to; moments are merged by the formula of Chan, Golub and LeVeque."""

    def __init__(self, size_vox: Corner) -> None:
        self.minimum, self.maximum, self.total = math.inf, -math.inf, 0.0
        self.count, self.mean, self.squares, self.raw_sum = 0, 0.0, 0.0, 0.0
        self._occupied = [np.zeros(size, bool) for size in size_vox]

    def add(
        self,
        values: npt.NDArray[np.float32],
        *,
        start: int,
        axis: int,
        border: float | None,
        clip: tuple[float, float] | None,
    ) -> bool:
        """Add a slab that begins at `start` along `axis`; False if it holds a voxel that is not finite."""
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            return False
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.total += float(values.sum(dtype=np.float64))
        mask = values > 0 if border is None else values != np.float32(border)
        foreground = values[mask]
        if not foreground.size:
            return True
        for other in range(3):
            hit = np.asarray(mask.any(axis=tuple(a for a in range(3) if a != other)))
            first = start if other == axis else 0
            self._occupied[other][first : first + len(hit)] |= hit
        self.raw_sum += float(foreground.sum(dtype=np.float64))
        if clip is not None:
            np.clip(foreground, np.float32(clip[0]), np.float32(clip[1]), out=foreground)
        mean = float(foreground.mean(dtype=np.float64))
        foreground -= np.float32(mean)
        # What rounding the mean to FP32 left behind is taken out of the sum of squares.
        shift = float(foreground.mean(dtype=np.float64))
        np.square(foreground, out=foreground)
        squares = float(foreground.sum(dtype=np.float64)) - foreground.size * shift**2
        count = self.count + foreground.size
        delta = mean - self.mean
        self.squares += squares + delta**2 * self.count * foreground.size / count
        self.mean += delta * foreground.size / count
        self.count = count
        return True

    def box(self) -> tuple[Corner, Corner]:
        first, end = [], []
        for hit in self._occupied:
            found = np.nonzero(hit)[0]
            first.append(int(found[0]) if found.size else 0)
            end.append(int(found[-1]) + 1 if found.size else len(hit))
        return (first[0], first[1], first[2]), (end[0], end[1], end[2])


def _slabs(volume: Volume) -> Iterator[tuple[int, int, npt.NDArray[np.float32]]]:
    """(first index, axis, true values) of slabs along the axis that is slowest in memory."""
    axis = max(range(3), key=lambda a: (abs(volume.stored.strides[a]), -a))
    step = max(1, SLAB_VOXELS * volume.size_vox[axis] // volume.stored.size)
    for start in range(0, volume.size_vox[axis], step):
        part = [slice(None)] * 3
        part[axis] = slice(start, start + step)
        yield start, axis, volume.true_values(volume.stored[tuple(part)])


def _border_value(volume: Volume) -> float | None:
    """The one value that 19 of 20 voxels of the outer faces hold. An axis of one or two voxels has no inside, so no
    border either.
    """
    stored = volume.stored
    faces = [
        stored[tuple(index if a == axis else slice(None) for a in range(3))]
        for axis in range(3)
        if stored.shape[axis] >= 3
        for index in (0, -1)
    ]
    if not faces:
        return None
    values, counts = np.unique(np.concatenate([face.ravel() for face in faces]), return_counts=True)
    value = values[counts.argmax()]
    if 20 * (counts.sum() - counts.max()) > counts.sum():
        return None
    return float(volume.true_values(np.array([value]))[0])
