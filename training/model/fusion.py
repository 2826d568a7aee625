"""Fusion of the modalities' features, with a learned token in the place of an absent modality (paper section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cmc_sdk.training.model.norms import InstanceNorm

__all__ = ["Fusion", "MissingTokens"]


class MissingTokens(nn.Module):
    """t_m: what stands for the features of an absent modality.

    It is chosen with `where`, never by multiplication, so that an absent modality's features have no influence
    whatever they are, NaN included.

    Args:
        modalities: Number of modalities M.
        channels: C.
    """

    def __init__(self, modalities: int, *, channels: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(modalities, channels))
        nn.init.trunc_normal_(self.tokens, std=0.02)

    def forward(self, features: Tensor, *, index: int, presence: Tensor) -> Tensor:
        """Features (B, C, g, g, g) of modality `index` where presence (B,) is true, else its token."""
        token = self.tokens[index].to(features.dtype).reshape(1, -1, 1, 1, 1)
        return torch.where(presence.reshape(-1, 1, 1, 1, 1), features, token)


class Fusion(nn.Module):
    """Z = φ_f([F_mia^1 ; … ; F_mia^M]) and G^m = F_mia^m + Z, for any M ≥ 1.

    φ_f: 3³ convolution M·C → C, InstanceNorm, GELU, 3³ convolution C → C. With `concat`, the released code's reading:
    G^m = conv1³( ReLU( GroupNorm([Z ; F_mia^m]) ) ), 2C → C, shared by all modalities.

    Args:
        modalities: Number of modalities M.
        channels: C.
        combine: `add` (the figure's sum) or `concat`.
    """

    def __init__(self, modalities: int, *, channels: int, combine: Literal["add", "concat"]) -> None:
        super().__init__()
        self.phi = nn.Sequential(
            nn.Conv3d(modalities * channels, channels, kernel_size=3, padding=1),
            InstanceNorm(channels),
            nn.GELU(),
            nn.Conv3d(channels, channels, kernel_size=3, padding=1),
        )
        self.convert = (
            nn.Sequential(nn.GroupNorm(16, 2 * channels), nn.ReLU(), nn.Conv3d(2 * channels, channels, kernel_size=1))
            if combine == "concat"
            else None
        )

    def fused(self, features: Sequence[Tensor]) -> Tensor:
        """Z (B, C, g, g, g) from F_mia of all modalities in order."""
        fused: Tensor = self.phi(torch.cat(tuple(features), dim=1))
        return fused

    def combined(self, own: Tensor, *, fused: Tensor) -> Tensor:
        """G^m from F_mia^m and Z, all (B, C, g, g, g)."""
        if self.convert is None:
            return own + fused
        converted: Tensor = self.convert(torch.cat((fused, own), dim=1))
        return converted
