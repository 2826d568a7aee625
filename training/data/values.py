"""Whether voxel values are what the data list says: Hounsfield units, and a foreground that can be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core import intensity_statistics

__all__ = ["ValueFault", "foreground_fault", "hounsfield_fault"]

_OFFSETS = (1000, 1024)  # added by tools that store HU as unsigned integers
_SAMPLES = 200_000
_MOST_BELOW = 0.02  # of all voxels: interpolation leaves a few below 0 in any scan


@dataclass(frozen=True)
class ValueFault:
    """What speaks against the values; `unsure` where a sound scan may look the same."""

    message: str
    mend: str
    unsure: bool


def hounsfield_fault(values: npt.NDArray[np.floating], *, low: float, high: float) -> ValueFault | None:
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
        return ValueFault(
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
            return ValueFault(
                f"{span} with soft tissue near {typical:.0f} are HU plus {_OFFSETS[0]} or {_OFFSETS[1]}",
                "subtract the offset, or repair slope and intercept of the file",
                unsure=False,
            )
        return ValueFault(
            f"{span}: nothing is below 0, and air is -1000 HU",
            "check the unit; a scan whose background was masked with 0 is fine",
            unsure=True,
        )
    if low > -200:
        return ValueFault(f"{span}: nothing is near air", "check the unit; a tight crop is fine", unsure=True)
    return None


def foreground_fault(image: Volume, values: npt.NDArray[np.floating], *, rule: IntensityRule) -> ValueFault | None:
    """Look whether the foreground, of which mean and deviation are taken, can be the body.

    Without a border of one value all that lies above 0 counts as foreground: right where background is 0 and noise,
    and half of the body where a scan was shifted to a mean of 0.

    Args:
        image: The scan.
        values: Its true values, (X, Y, Z).
        rule: Of its modality.

    Returns:
        None where nothing speaks against it, or `rule` does not ask for the foreground.
    """
    if rule.scale != "zscore" or rule.unit == "HU" or intensity_statistics(image, rule).has_border:
        return None
    below = float((values < 0).mean())
    if below <= _MOST_BELOW:
        return None
    return ValueFault(
        f"its outer faces do not hold one value, so all above 0 counts as foreground, and {below:.0%} lies below 0",
        "give the background one value, or shift the scan so that its background is 0",
        unsure=True,
    )
