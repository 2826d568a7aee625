"""The two normalisations of the network, and switching autocast off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

import torch
from monai.networks.layers.factories import Norm
from torch import Tensor, nn

__all__ = ["MONAI_INSTANCE_NORM", "ChannelLayerNorm", "InstanceNorm", "channels_last", "full_precision"]

MONAI_INSTANCE_NORM = "CMC_INSTANCE"


class _Hooked(Protocol):
    """What torch leaves without types of a tensor."""

    def register_hook(self, hook: Callable[[Tensor], Tensor]) -> object:
        """Let every gradient of the tensor go through `hook`."""


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


class InstanceNorm(nn.InstanceNorm3d):
    """Learned InstanceNorm of (B, C, X, Y, Z), eps 1e-5: statistics of one sample and one channel, never of a batch.

    Its output is laid out channels-last, in which the backward pass of narrow 3-D convolutions takes a quarter of the
    time on a CPU. Not by GroupNorm on channels-last memory, which torch offers for that: its CPU kernel adds up x and
    x² one after another in FP32, and at 128³ voxels is 3e-3 off, .1 where the mean is 30 standard deviations. An
    export writes it in stages, for the same reason.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) → the same shape."""
        normalised = super().forward(x)
        if normalised.requires_grad and not torch.compiler.is_compiling():
            # torch's backward of InstanceNorm is wrong (by far) for one sample and a gradient in channels-last.
            hooked: _Hooked = normalised
            hooked.register_hook(torch.Tensor.contiguous)
        return channels_last(normalised)


@Norm.factory_function(MONAI_INSTANCE_NORM)
def _instance_norm(dimensions: int) -> type[nn.Module]:
    """So that MONAI's blocks can be built with this InstanceNorm by its name."""
    return InstanceNorm


def channels_last(x: Tensor) -> Tensor:
    """The same (B, C, X, Y, Z) with channels innermost in memory; left alone in an export, where it says nothing."""
    return x if torch.compiler.is_compiling() else x.contiguous(memory_format=torch.channels_last_3d)


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[None]:
    """A context in which autocast is off for the device of `like`; nothing at all (for export) where it is off."""
    if torch.is_autocast_enabled(like.device.type):
        context: contextlib.AbstractContextManager[None] = torch.autocast(like.device.type, enabled=False)
        return context
    return contextlib.nullcontext()
