"""From a trained network to a bundle. Needs the extra `export`."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmc_sdk.export.bundle import export_bundle as export_bundle
    from cmc_sdk.export.bundle import export_network as export_network
    from cmc_sdk.export.released import export_released as export_released
    from cmc_sdk.runtime.gate.verify import VerifyReport as VerifyReport
    from cmc_sdk.runtime.gate.verify import verify_bundle as verify_bundle

__all__ = ["VerifyReport", "export_bundle", "export_network", "export_released", "verify_bundle"]

_HOMES = {
    "VerifyReport": "cmc_sdk.runtime.gate.verify",
    "export_bundle": "cmc_sdk.export.bundle",
    "export_network": "cmc_sdk.export.bundle",
    "export_released": "cmc_sdk.export.released",
    "verify_bundle": "cmc_sdk.runtime.gate.verify",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'cmc_sdk.export' has no attribute {name!r}")
    # MONAI imports matplotlib, for notebooks, which writes into the home folder; without it MONAI is as good here.
    hidden = "matplotlib" not in sys.modules
    if hidden:
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    finally:
        if hidden:
            del sys.modules["matplotlib"]
