"""The CMC network and its parts."""

from cmc_sdk.training.model.build import build_network
from cmc_sdk.training.model.config import ModelConfig, model_faults
from cmc_sdk.training.model.encoder import Encoded, build_encoder
from cmc_sdk.training.model.network import CMCNetwork, NetworkOutput
from cmc_sdk.training.model.public_checkpoints import load_sam_med3d, load_unet3d
from cmc_sdk.training.model.released import ReleasedNetwork, load_released_checkpoint
from cmc_sdk.training.model.storage import load_network, restore_network, save_network
from cmc_sdk.training.model.torch_file import LoadReport

__all__ = [
    "CMCNetwork",
    "Encoded",
    "LoadReport",
    "ModelConfig",
    "NetworkOutput",
    "ReleasedNetwork",
    "build_encoder",
    "build_network",
    "load_network",
    "load_released_checkpoint",
    "load_sam_med3d",
    "load_unet3d",
    "model_faults",
    "restore_network",
    "save_network",
]
