"""cmc-sdk: semi-supervised multimodal 3-D segmentation, from a few labelled scans to a bundle that runs anywhere."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cmc_sdk.environment import keep_telemetry_off
from cmc_sdk.version import __version__ as __version__

if TYPE_CHECKING:
    from cmc_sdk.imaging.nifti import write_volume as write_volume
    from cmc_sdk.imaging.read import read_volume as read_volume
    from cmc_sdk.imaging.volume import Volume as Volume
    from cmc_sdk.runtime.session import Session as Session

__all__ = ["Session", "Volume", "read_volume", "write_volume"]

keep_telemetry_off()

_HOMES = {
    "Session": ("cmc_sdk.runtime.session", "Session"),
    "Volume": ("cmc_sdk.imaging.volume", "Volume"),
    "read_volume": ("cmc_sdk.imaging.read", "read_volume"),
    "write_volume": ("cmc_sdk.imaging.nifti", "write_volume"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cmc_sdk' has no attribute {name!r}")
    module, home_name = _HOMES[name]
    return getattr(importlib.import_module(module), home_name)
