"""Modality-independent attention between channels (paper section 2.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cmc_sdk.training.model.norms import InstanceNorm, full_precision

__all__ = ["Mia"]


class Mia(nn.Module):
    """Channel attention with bounded logits, one module shared by all modalities.

        U = φ1(F)                         3³ convolution, InstanceNorm, GELU
        V = φ2([F ; U])                   1³ convolution, 2C → C
        A = softmax( V̂ V̂ᵀ / τ )           (B, C, C); rows of V flattened over voxels and L2-normalised
        F_mia = F + γ·φ3(A V)             φ3: 1³ convolution

    τ = exp(t) is learned from 0.2 and kept in [0.05, 1]; outside that range the gradient still reaches t, so that it
    can come back. γ is learned from 0.01 (at 0 no φ would get a gradient). Norm, product and softmax are FP32 under
    autocast too: the logits of A are bounded, the norm of V is not.

    Args:
        channels: C.
    """

    TAU_RANGE = (0.05, 1.0)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.phi1 = nn.Sequential(
            nn.Conv3d(channels, channels, kernel_size=3, padding=1), InstanceNorm(channels), nn.GELU()
        )
        self.phi2 = nn.Conv3d(2 * channels, channels, kernel_size=1)
        self.phi3 = nn.Conv3d(channels, channels, kernel_size=1)
        self.log_tau = nn.Parameter(torch.tensor(math.log(0.2)))
        self.gamma = nn.Parameter(torch.tensor(0.01))

    def tau(self) -> Tensor:
        """The temperature τ, a scalar in [0.05, 1]."""
        lower, upper = (math.log(bound) for bound in self.TAU_RANGE)
        outside = self.log_tau.detach().clamp(lower, upper) - self.log_tau.detach()
        return (self.log_tau + outside).exp()

    def attention(self, values: Tensor) -> Tensor:
        """A (B, C, C) in FP32 from V flattened, (B, C, N) FP32."""
        # A floor, not a sum: the exporter's optimiser takes the addition of 1e-12 for one of zero, and drops it.
        rows = values * torch.rsqrt(values.square().sum(-1, keepdim=True).clamp_min(1e-12))
        return (torch.matmul(rows, rows.transpose(-2, -1)) / self.tau()).softmax(dim=-1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """F (B, C, g, g, g) → F_mia of the same shape, and A (B, C, C)."""
        values = self.phi2(torch.cat((features, self.phi1(features)), dim=1))
        with full_precision(values):
            flat = values.float().flatten(2)
            attention = self.attention(flat)
            mixed = torch.matmul(attention, flat).reshape(values.shape)
        return features + self.gamma * self.phi3(mixed.to(values.dtype)), attention
