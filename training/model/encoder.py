"""The SAM-Med3D image encoder (paper section 2.1), with the public checkpoint's keys and shapes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cmc_sdk.errors import ConfigError
from cmc_sdk.training.model.adapter import Adapter
from cmc_sdk.training.model.attention import GridAttention
from cmc_sdk.training.model.config import PRESETS, EncoderPreset, ModelConfig, PresetName, check_model_config
from cmc_sdk.training.model.modules import Modules
from cmc_sdk.training.model.norms import ChannelLayerNorm
from cmc_sdk.training.model.seeding import seeded

__all__ = ["Encoded", "SamMed3DEncoder", "build_encoder"]


class Encoded(NamedTuple):
    """What an encoder makes of a window.

    Args:
        features: F, (B, C, g, g, g).
        skips: What the decoder of the same modality also takes, deepest first.
    """

    features: Tensor
    skips: tuple[Tensor, ...]


class _PatchEmbedding(nn.Module):
    def __init__(self, *, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, dim, kernel_size=patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        tokens: Tensor = self.proj(image)
        return tokens.permute(0, 2, 3, 4, 1)  # (B, dim, g, g, g) → (B, g, g, g, dim)


class _Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, 4 * dim)
        self.lin2 = nn.Linear(4 * dim, dim)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.lin2(nn.functional.gelu(self.lin1(h)))
        return out


class _Block(nn.Module):
    def __init__(self, preset: EncoderPreset, *, grid: int, window: int, adapter: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(preset.dim, eps=1e-6)
        self.attn = GridAttention(preset.dim, heads=preset.heads, grid=grid, window=window)
        self.norm2 = nn.LayerNorm(preset.dim, eps=1e-6)
        self.mlp = _Mlp(preset.dim)
        self.adapter = Adapter(preset.dim, bottleneck=preset.bottleneck) if adapter else None

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.attn(self.norm1(h))
        h = h + self.mlp(self.norm2(h))
        return h if self.adapter is None else self.adapter(h)


class SamMed3DEncoder(nn.Module):
    """E^m: window (B, 1, X, Y, Z) → features (B, C, g, g, g).

    Without adapters its state dict has exactly the public checkpoint's keys under `image_encoder.`
    (189 tensors for `base`).

    Args:
        preset: Sizes.
        window_vox: Edge of the cubic window in voxels; a multiple of the patch.
        adapters: Whether every block carries an adapter.
    """

    def __init__(self, preset: EncoderPreset, *, window_vox: int, adapters: bool) -> None:
        super().__init__()
        self.preset = preset
        self.grid = window_vox // preset.patch
        self.channels = preset.channels
        self.patch_embed = _PatchEmbedding(patch=preset.patch, dim=preset.dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid, self.grid, self.grid, preset.dim))
        self.blocks = Modules(
            _Block(
                preset,
                grid=self.grid,
                window=self.grid if index in preset.global_blocks else preset.attention_window,
                adapter=adapters,
            )
            for index in range(preset.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(preset.dim, preset.channels, kernel_size=1, bias=False),
            ChannelLayerNorm(preset.channels),
            nn.Conv3d(preset.channels, preset.channels, kernel_size=3, padding=1, bias=False),
            ChannelLayerNorm(preset.channels),
        )
        self._initialise()

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for block in self.blocks:
            for linear in (block.attn.qkv, block.attn.proj, block.mlp.lin1, block.mlp.lin2):
                nn.init.trunc_normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)

    def encode(self, image: Tensor) -> Encoded:
        """Window (B, 1, X, Y, Z) → F and the tokens after the preset's skip blocks, each (B, dim, g, g, g)."""
        h = self.patch_embed(image) + self.pos_embed
        after: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks):
            h = block(h)
            if index in self.preset.skip_blocks:
                after[index] = h.permute(0, 4, 1, 2, 3)  # (B, g, g, g, dim) → (B, dim, g, g, g)
        features = self.neck(h.permute(0, 4, 1, 2, 3))
        return Encoded(features, tuple(after[index] for index in self.preset.skip_blocks))

    def forward(self, image: Tensor) -> Tensor:
        """Window (B, 1, X, Y, Z) → F (B, C, g, g, g)."""
        return self.encode(image).features

    def freeze(self, *, train_mlp: bool) -> None:
        """Freeze patch embedding, position and attention; with `train_mlp` False also MLPs and block LayerNorms."""
        frozen: list[nn.Module] = [self.patch_embed]
        self.pos_embed.requires_grad_(False)
        for block in self.blocks:
            frozen.append(block.attn)
            if not train_mlp:
                frozen += [block.norm1, block.norm2, block.mlp]
        for module in frozen:
            module.requires_grad_(False)


def build_encoder(
    preset: PresetName, *, window_vox: int | None = None, adapters: bool = False, seed: int = 0
) -> SamMed3DEncoder:
    """A SAM-Med3D encoder with fresh weights; `base` without adapters has the public checkpoint's 189 tensors.

    Args:
        preset: `base` (the public one), `small` or `tiny`.
        window_vox: Edge of the cubic window in voxels; None for the preset's (base: 128).
        adapters: Whether every block carries an adapter.
        seed: Seeds the weights; the global random state is left alone.

    Raises:
        ConfigError: `preset` is unknown or `window_vox` does not fit it.
    """
    if preset not in PRESETS:
        raise ConfigError(f"encoder preset {preset!r} is unknown", mend=f"choose one of {', '.join(PRESETS)}")
    config = ModelConfig(preset=preset, window_vox=window_vox)
    check_model_config(config)
    with seeded(seed):
        return SamMed3DEncoder(PRESETS[preset], window_vox=config.window, adapters=adapters)
