"""Random features, predictions and labels for the tests of the losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

torch.set_num_threads(1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal noise of a shape, by its own generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def smooth_features(*, channels: int = 32, size: int = 8, seed: int = 0) -> Tensor:
    """(1, C, s, s, s): blobs wide enough to outlast a roll of two voxels, partly shared between channels."""
    maps = noise(1, channels, size, size, size, seed=seed)
    for _ in range(3):
        maps = functional.avg_pool3d(functional.pad(maps, (2,) * 6, mode="circular"), 5, stride=1)
    maps = maps / maps.std() + 0.3
    mixing = torch.eye(channels) + 0.3 * noise(channels, channels, seed=seed + 1)
    return torch.einsum("cd,bdxyz->bcxyz", mixing, maps)


def prediction(*shape: int, seed: int = 0, sharpness: float = 3.0) -> Tensor:
    """softmax of noise, (B, K, X, Y, Z)."""
    return torch.softmax(sharpness * noise(*shape, seed=seed), dim=1)


def body(batch: int, *, seed: int = 0) -> Tensor:
    """(B, 3, 4): near a plain scaling, with a little shear."""
    return torch.eye(3, 4).expand(batch, 3, 4) * 0.1 + 0.01 * noise(batch, 3, 4, seed=seed)
