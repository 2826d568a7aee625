"""The decoder of the SAM-Med3D backbone: D^m(G^m, skips^m, image) → logits (paper section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrPrUpBlock, UnetrUpBlock
from torch import Tensor, nn

from cmc_sdk.training.model.config import EncoderPreset
from cmc_sdk.training.model.modules import Modules
from cmc_sdk.training.model.norms import MONAI_INSTANCE_NORM, ChannelLayerNorm, channels_last

__all__ = ["SamMed3DDecoder"]


class SamMed3DDecoder(nn.Module):
    """Features (B, C, g, g, g) → logits (B, K, X, Y, Z) in log2(patch) stages that double the resolution.

    1, 2    SAM-Med3D's `mask_decoder.output_upscaling` (C → C/4 → C/8, same keys), to which the tokens after the two
            deepest skip blocks are added through projections that start at zero: step 0 is the pre-trained
            up-scaling.
    3       patch 16 only: MONAI's UNETR block, with the tokens after the earliest skip block concatenated.
    last    MONAI's UNETR block, with the image concatenated. A smaller patch drops the stage before, not the image:
            without it nothing finer than a token would reach the labels.

    Args:
        preset: Sizes.
        num_classes: K, background included.
    """

    def __init__(self, preset: EncoderPreset, *, num_classes: int) -> None:
        super().__init__()
        first, second = preset.channels // 4, preset.channels // 8
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(preset.channels, first, kernel_size=2, stride=2),
            ChannelLayerNorm(first),
            nn.GELU(),
            nn.ConvTranspose3d(first, second, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.skip_projections = Modules(
            (
                nn.ConvTranspose3d(preset.dim, first, kernel_size=2, stride=2),
                nn.ConvTranspose3d(preset.dim, second, kernel_size=4, stride=4),
            )
        )
        for projection in self.skip_projections:
            nn.init.zeros_(projection.weight)
            if projection.bias is not None:
                nn.init.zeros_(projection.bias)
        channels = (second, *preset.late_channels)
        late = range(preset.stages - 2)
        self.token_skips = nn.ModuleList(
            UnetrPrUpBlock(
                3,
                preset.dim,
                channels[stage + 1],
                num_layer=stage + 2,
                kernel_size=3,
                stride=1,
                upsample_kernel_size=2,
                norm_name=MONAI_INSTANCE_NORM,
                conv_block=True,
                res_block=True,
            )
            for stage in late[:-1]
        )
        self.image_skip = UnetrBasicBlock(
            3, 1, channels[-1], kernel_size=3, stride=1, norm_name=MONAI_INSTANCE_NORM, res_block=preset.residual_blocks
        )
        self.late_stages = nn.ModuleList(
            UnetrUpBlock(
                3,
                channels[stage],
                channels[stage + 1],
                kernel_size=3,
                upsample_kernel_size=2,
                norm_name=MONAI_INSTANCE_NORM,
                res_block=preset.residual_blocks,
            )
            for stage in late
        )
        self.out = nn.Conv3d(channels[-1], num_classes, kernel_size=1)

    def forward(self, features: Tensor, skips: Sequence[Tensor], image: Tensor) -> Tensor:
        """G (B, C, g, g, g), tokens after the skip blocks (B, dim, g, g, g), image (B, 1, X, Y, Z) → logits."""
        deconv1, norm, gelu, deconv2, _ = self.output_upscaling
        h = gelu(norm(deconv1(channels_last(features)))) + self.skip_projections[0](skips[0])
        h = gelu(deconv2(h)) + self.skip_projections[1](skips[1])
        concatenated = [block(skip) for block, skip in zip(self.token_skips, skips[2:], strict=True)]
        for stage, skip in zip(self.late_stages, [*concatenated, self.image_skip(image)], strict=True):
            h = stage(h, skip)
        logits: Tensor = self.out(h)
        return logits
