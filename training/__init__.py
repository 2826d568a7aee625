"""Training: data, network, losses, engine. Needs the extra `train`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmc_sdk.training.engine.config import TrainConfig as TrainConfig
    from cmc_sdk.training.engine.run_folder import load_run as load_run
    from cmc_sdk.training.engine.trainer import train as train

__all__ = ["TrainConfig", "load_run", "train"]

# On first use: the engine brings torch, Fabric and MONAI, which a user of one loss does not need to wait for.
_HOMES = {
    "TrainConfig": "cmc_sdk.training.engine.config",
    "load_run": "cmc_sdk.training.engine.run_folder",
    "train": "cmc_sdk.training.engine.trainer",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'cmc_sdk.training' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_HOMES[name]), name)
    return found
