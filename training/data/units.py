"""Whether voxels that are said to be Hounsfield units can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["UnitFault", "hounsfield_fault"]

_OFFSETS = (1000, 1024)  # added by tools that store HU as unsigned integers
_SAMPLES = 200_000


@dataclass(frozen=True)
class UnitFault:
    """What speaks against Hounsfield units; `unsure` where a cropped or masked scan would look the same."""

    message: str
    mend: str
    unsure: bool


def hounsfield_fault(values: npt.NDArray[Any], *, low: float, high: float) -> UnitFault | None:
    """Look at the values of a CT: air is near -1000 HU, soft tissue near 0 to 100, and bone above 200.

    Args:
        values: True values, (X, Y, Z).
        low: Their minimum.
        high: Their maximum.

    Returns:
        None where nothing speaks against HU.
    """
    span = f"values {low:g} … {high:g}"
    if high - low < 100:
        return UnitFault(
            f"{span} are no Hounsfield units (rescaled or z-scored?)",
            "give the CT in HU, or declare `unit: arbitrary` without HU bounds in clip",
            unsure=False,
        )
    if low >= 0:
        flat = values.ravel(order="K")
        inside = flat[:: max(1, flat.size // _SAMPLES)]
        inside = inside[inside > 0]
        typical = float(np.median(inside[inside > 500])) if (inside > 500).mean() > 0.3 else 0.0
        if 900 <= typical <= 1200:
            return UnitFault(
                f"{span} with soft tissue near {typical:.0f} are HU plus {_OFFSETS[0]} or {_OFFSETS[1]}",
                "subtract the offset, or repair slope and intercept of the file",
                unsure=False,
            )
        return UnitFault(
            f"{span}: nothing is below 0, and air is -1000 HU",
            "check the unit; a scan whose background was masked with 0 is fine",
            unsure=True,
        )
    if low > -200:
        return UnitFault(f"{span}: nothing is near air", "check the unit; a tight crop is fine", unsure=True)
    return None
