"""Label maps: from whatever type a tool stored them in to class indices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.volume import Volume

__all__ = ["LABEL_TOLERANCE", "as_labels"]

LABEL_TOLERANCE = 1e-3


def as_labels(volume: Volume) -> Volume:
    """`volume` as class indices, uint8, on the same grid.

    Tools store labels as float32, float64 or scaled integers, and a mask's 1 as 0.99999997: a true value within
    1e-3 of an integer counts as that integer. The conversion goes slab by slab; a uint8 map is not copied.

    Raises:
        DataError: A value is fractional, negative, above 255, NaN or infinite; says how many and where the first is.
    """
    stored = volume.stored
    if stored.dtype == np.uint8 and volume.slope == 1.0 and volume.intercept == 0.0:
        return volume
    labels: npt.NDArray[np.uint8] = np.empty(stored.shape, dtype=np.uint8, order="F")
    fractional, outside = _Offence(), _Offence()
    for k in range(stored.shape[2]):
        values = stored[:, :, k].astype(np.float64) * volume.slope + volume.intercept
        nearest = np.rint(values)
        with np.errstate(invalid="ignore"):  # infinity minus infinity: caught as "not within"
            off = ~(np.abs(values - nearest) <= LABEL_TOLERANCE)
        fractional.add(off, values, k)
        beyond = ~off & ((nearest < 0) | (nearest > 255))
        outside.add(beyond, values, k)
        if not (fractional.count or outside.count):
            labels[:, :, k] = nearest
    for offence, rule in ((fractional, "not integers (within 0.001)"), (outside, "outside 0 … 255")):
        if offence.count:
            raise DataError(
                f"{volume.name}: as a label map it holds {offence.count} voxels whose values are {rule}, the first at "
                f"voxel {offence.first} ({offence.value:g})",
                mend="give a label map of class indices; was it interpolated, or is it a scan or a probability map?"
                if offence is fractional
                else "map the classes to 1 … 255 first",
            )
    return replace(volume, stored=labels, slope=1.0, intercept=0.0)


class _Offence:
    """How many voxels broke a rule, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: tuple[int, int, int] | None = None
        self.value = float("nan")

    def add(self, wrong: npt.NDArray[np.bool_], values: npt.NDArray[np.generic], k: int) -> None:
        if not wrong.any():
            return
        self.count += int(wrong.sum())
        if self.first is None:
            i, j = (int(index) for index in np.argwhere(wrong)[0])
            self.first, self.value = (i, j, k), float(values[i, j])
