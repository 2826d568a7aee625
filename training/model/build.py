"""Building a CMC network from its configuration: fresh weights, or those of a public checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from cmc_sdk.errors import ConfigError
from cmc_sdk.training.model.config import ModelConfig, check_model_config
from cmc_sdk.training.model.encoder import SamMed3DEncoder
from cmc_sdk.training.model.network import CMCNetwork
from cmc_sdk.training.model.public_checkpoints import load_sam_med3d, load_unet3d
from cmc_sdk.training.model.seeding import seeded

__all__ = ["build_fresh", "build_network"]


def build_network(config: ModelConfig, *, modalities: Sequence[str], num_classes: int, seed: int = 0) -> CMCNetwork:
    """A CMC network; with `config.pretrained` its encoders (and decoders) start from that checkpoint.

    Args:
        config: What to build.
        modalities: One to three different names.
        num_classes: K ≥ 2, background included.
        seed: Seeds the fresh weights; the global random state is left alone.

    Raises:
        ConfigError: The configuration contradicts itself, all faults listed.
        CheckpointError: `config.pretrained` does not fit.
    """
    network = build_fresh(config, modalities=modalities, num_classes=num_classes, seed=seed)
    if config.pretrained is not None:
        load = load_unet3d if config.backbone == "unet3d" else load_sam_med3d
        load(network, config.pretrained)
    return network


def build_fresh(config: ModelConfig, *, modalities: Sequence[str], num_classes: int, seed: int = 0) -> CMCNetwork:
    """As `build_network`, without reading `config.pretrained`: for weights that are about to be replaced."""
    check_model_config(config)
    if not 1 <= len(modalities) <= 3 or len(set(modalities)) != len(modalities):
        raise ConfigError(f"modalities {list(modalities)}", mend="give one to three different names")
    if num_classes < 2:
        raise ConfigError(f"num_classes {num_classes}", mend="give at least 2: background and one organ")
    with seeded(seed):
        network = CMCNetwork(config, modalities=modalities, num_classes=num_classes)
    if config.frozen:
        for encoder in network.encoders:
            if isinstance(encoder, SamMed3DEncoder):
                encoder.freeze(train_mlp=config.train_mlp)
    return network
