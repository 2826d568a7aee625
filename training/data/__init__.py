"""Data lists, windows, pairing and the phantom."""

from __future__ import annotations

from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.data.config import DataConfig
from cmc_sdk.training.data.datalist import Case, Datalist, load_datalist
from cmc_sdk.training.data.randomness import random_generator
from cmc_sdk.training.data.windows import WindowSource

__all__ = ["Batch", "Case", "DataConfig", "Datalist", "WindowSource", "load_datalist", "random_generator"]
