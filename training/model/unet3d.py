"""The released code's U-Net as a second backbone, without batch statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cmc_sdk.training.model.encoder import Encoded
from cmc_sdk.training.model.norms import InstanceNorm, channels_last

__all__ = ["UNet3DDecoder", "UNet3DEncoder"]


class _ConvUnit(nn.Module):
    """3³ convolution, InstanceNorm, ReLU; the norm is called bn1 as in the public weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, kernel_size=3, padding=1)
        self.bn1 = InstanceNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.bn1(self.conv1(x))
        return nn.functional.relu(normalised)


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = max(inputs, outputs // 2)
        self.ops = nn.Sequential(_ConvUnit(inputs, middle), _ConvUnit(middle, outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.ops(x)
        return out


class _Up(nn.Module):
    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up_conv = nn.ConvTranspose3d(inputs, inputs, kernel_size=2, stride=2)
        self.ops = nn.Sequential(_ConvUnit(inputs + skip, outputs), _ConvUnit(outputs, outputs))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.ops(torch.cat((self.up_conv(x), skip), dim=1))
        return out


class UNet3DEncoder(nn.Module):
    """Window (B, 1, X, Y, Z) → bottleneck features (B, 8·width, X/8, Y/8, Z/8); three skips, deepest first.

    The stages keep the public names (`down_tr64` …) whatever the width; at width 64 the public weights fit.

    Args:
        width: Channels after the first stage.
        window_vox: Edge of the cubic window in voxels; a multiple of 8.
    """

    def __init__(self, *, width: int, window_vox: int) -> None:
        super().__init__()
        self.grid = window_vox // 8
        self.channels = 8 * width
        self.down_tr64 = _Down(1, width)
        self.down_tr128 = _Down(width, 2 * width)
        self.down_tr256 = _Down(2 * width, 4 * width)
        self.down_tr512 = _Down(4 * width, 8 * width)

    def encode(self, image: Tensor) -> Encoded:
        """Window (B, 1, X, Y, Z) → F and skips (B, 4w, X/4, …), (B, 2w, X/2, …), (B, w, X, …)."""
        full = self.down_tr64(channels_last(image))
        half = self.down_tr128(nn.functional.max_pool3d(full, 2))
        quarter = self.down_tr256(nn.functional.max_pool3d(half, 2))
        features = self.down_tr512(nn.functional.max_pool3d(quarter, 2))
        return Encoded(features, (quarter, half, full))

    def forward(self, image: Tensor) -> Tensor:
        """Window (B, 1, X, Y, Z) → F."""
        return self.encode(image).features


class UNet3DDecoder(nn.Module):
    """Features (B, 8·width, g, g, g) and three skips → logits (B, K, X, Y, Z).

    Args:
        width: Channels after the encoder's first stage.
        num_classes: K, background included.
    """

    def __init__(self, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.up_tr256 = _Up(8 * width, 4 * width, 4 * width)
        self.up_tr128 = _Up(4 * width, 2 * width, 2 * width)
        self.up_tr64 = _Up(2 * width, width, width)
        self.out = nn.Conv3d(width, num_classes, kernel_size=1)

    def forward(self, features: Tensor, skips: Sequence[Tensor], image: Tensor) -> Tensor:
        """G, the encoder's skips, and the image (unused: the last skip is at its resolution) → logits."""
        quarter, half, full = skips
        logits: Tensor = self.out(self.up_tr64(self.up_tr128(self.up_tr256(features, quarter), half), full))
        return logits
