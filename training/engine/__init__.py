"""Configuration, stages, trainer and checkpoints."""

from __future__ import annotations

from cmc_sdk.training.engine.config import (
    OptimiserConfig,
    StagesConfig,
    TrainConfig,
    ValidationConfig,
)
from cmc_sdk.training.engine.config_file import dump_config, load_config, parse_config, recipe_names
from cmc_sdk.training.engine.run_folder import Run, RunPaths, load_run
from cmc_sdk.training.engine.torch_backend import TorchBackend
from cmc_sdk.training.engine.trainer import train

__all__ = [
    "OptimiserConfig",
    "Run",
    "RunPaths",
    "StagesConfig",
    "TorchBackend",
    "TrainConfig",
    "ValidationConfig",
    "dump_config",
    "load_config",
    "load_run",
    "parse_config",
    "recipe_names",
    "train",
]
