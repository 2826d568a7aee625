"""Data lists, windows, pairing and the phantom. Names load when they are asked for: checking a list needs no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmc_sdk.training.data.batch import Batch as Batch
    from cmc_sdk.training.data.check import check_datalist as check_datalist
    from cmc_sdk.training.data.config import DataConfig as DataConfig
    from cmc_sdk.training.data.datalist import Case as Case
    from cmc_sdk.training.data.datalist import Datalist as Datalist
    from cmc_sdk.training.data.datalist import load_datalist as load_datalist
    from cmc_sdk.training.data.datalist import write_datalist as write_datalist
    from cmc_sdk.training.data.phantom import make_phantom as make_phantom
    from cmc_sdk.training.data.randomness import random_generator as random_generator
    from cmc_sdk.training.data.structure import Fault as Fault
    from cmc_sdk.training.data.window_source import WindowSource as WindowSource

_HOMES = {
    "Batch": "batch",
    "Case": "datalist",
    "DataConfig": "config",
    "Datalist": "datalist",
    "Fault": "structure",
    "WindowSource": "window_source",
    "check_datalist": "check",
    "load_datalist": "datalist",
    "make_phantom": "phantom",
    "random_generator": "randomness",
    "write_datalist": "datalist",
}

__all__ = [
    "Batch",
    "Case",
    "DataConfig",
    "Datalist",
    "Fault",
    "WindowSource",
    "check_datalist",
    "load_datalist",
    "make_phantom",
    "random_generator",
    "write_datalist",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
