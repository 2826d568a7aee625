"""Pixels that the header marks as being no measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.reading.frames import PixelLayout, Scaling

__all__ = ["Padding"]


class Padding:
    """Replaces padding by the lowest value of all pixels that are none, once all planes have been read.

    Args:
        array: (slices, rows, columns), being filled.
        keeps_zero: Padding whose true value is 0 stays.
        scaling: From stored to true values; None where `array` holds true values.
    """

    def __init__(self, array: npt.NDArray[np.generic], *, keeps_zero: bool, scaling: Scaling | None) -> None:
        self._array, self._keeps_zero = array, keeps_zero
        self._scaling = scaling or Scaling()
        self._where: dict[int, npt.NDArray[np.uint8]] = {}
        self._lowest: Any = None

    def mask(self, plane: npt.NDArray[np.integer], *, layout: PixelLayout) -> npt.NDArray[np.bool_] | None:
        """Which pixels of a stored plane are padding; None where the header marks none or none is marked."""
        if layout.padding is None:
            return None
        low, high = layout.padding
        found = (plane >= low) & (plane <= high)
        return found if found.any() else None

    def seen(self, place: int, *, padded: npt.NDArray[np.bool_] | None) -> None:
        """Take note of plane `place`, which is in the array by now."""
        plane = self._array[place]
        if padded is not None:
            self._where[place] = np.packbits(padded)
            if padded.all():
                return
            lowest = plane[~padded].min()
        else:
            lowest = plane.min()
        if self._lowest is None or lowest < self._lowest:
            self._lowest = lowest

    def finish(self) -> tuple[str, ...]:
        """Replace it, and say how much."""
        count = 0
        for place, packed in self._where.items():
            plane = self._array[place]
            padded = np.unpackbits(packed, count=plane.size).view(np.bool_).reshape(plane.shape)
            if self._keeps_zero:
                padded = padded & (plane * self._scaling.slope + self._scaling.intercept != 0)
            if self._lowest is not None:
                plane[padded] = self._lowest
                count += int(padded.sum())
        if not count:
            return ()
        true = float(self._lowest) * self._scaling.slope + self._scaling.intercept
        return (f"{count} padding pixels were set to the lowest value of the others ({true:g})",)
