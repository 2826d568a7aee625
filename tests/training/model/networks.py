"""Small networks with random weights everywhere, for the tests of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cmc_sdk.training.model import CMCNetwork, ModelConfig, build_network
from cmc_sdk.training.model.config import EncoderPreset

torch.set_num_threads(1)

# Three blocks of which the middle one is global; grid 3, padded to 5.
PADDED = EncoderPreset(
    window_vox=24,
    patch=8,
    dim=24,
    depth=3,
    heads=2,
    attention_window=5,
    global_blocks=(1,),
    skip_blocks=(1, 0),
    channels=16,
    late_channels=(4,),
    residual_blocks=False,
    adapters=True,
    bottleneck=6,
)


def randomise(module: nn.Module, *, seed: int = 0, scale: float = 0.2) -> nn.Module:
    """Add noise to every parameter, so that nothing is at a special value (zero bias, zero position, unit norm)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return module


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal noise of a shape, by its own generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative(given: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected magnitude."""
    given, expected = given.detach(), expected.detach()
    return float((given - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def cnn(modalities: Sequence[str] = ("ct", "mr"), *, num_classes: int = 3, seed: int = 0) -> CMCNetwork:
    """The small CNN: `unet3d` of width 8 on 16³ windows."""
    config = ModelConfig(backbone="unet3d", width=8, window_vox=16)
    return build_network(config, modalities=modalities, num_classes=num_classes, seed=seed)


def tiny(modalities: Sequence[str] = ("ct", "mr"), *, num_classes: int = 3, seed: int = 0) -> CMCNetwork:
    """The smallest transformer: preset `tiny` on 16³ windows, two tokens per axis padded to 14."""
    config = ModelConfig(preset="tiny", window_vox=16)
    return build_network(config, modalities=modalities, num_classes=num_classes, seed=seed)


def windows(network: CMCNetwork, *, batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """A window (B, 1, X, Y, Z) for every modality."""
    return {
        name: noise(batch, 1, *network.window_vox, seed=seed + index) for index, name in enumerate(network.modalities)
    }
