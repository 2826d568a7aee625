"""The CMC network and its parts."""

from cmc_sdk.training.model.config import ModelConfig, model_faults
from cmc_sdk.training.model.encoder import Encoded, build_encoder
from cmc_sdk.training.model.network import CMCNetwork, NetworkOutput, build_network

__all__ = [
    "CMCNetwork",
    "Encoded",
    "ModelConfig",
    "NetworkOutput",
    "build_encoder",
    "build_network",
    "model_faults",
]
