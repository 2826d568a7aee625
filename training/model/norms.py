"""Normalisation over channels, as one LayerNormalization operator, and switching autocast off."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

__all__ = ["ChannelLayerNorm", "full_precision"]


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, X, Y, Z), eps 1e-6 (SAM's `LayerNorm3d`, same keys and values).

    Written as `layer_norm` on channels-last, so that an export holds one LayerNormalization operator, which backends
    keep in FP32, instead of a chain of reductions that overflows in FP16.
    """

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) → the same shape."""
        normalised = super().forward(x.permute(0, 2, 3, 4, 1))  # (B, X, Y, Z, C)
        return normalised.permute(0, 4, 1, 2, 3)


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[None]:
    """A context in which autocast is off for the device of `like`; nothing at all (for export) where it is off."""
    if torch.is_autocast_enabled(like.device.type):
        context: contextlib.AbstractContextManager[None] = torch.autocast(like.device.type, enabled=False)
        return context
    return contextlib.nullcontext()
