"""What network to build: the configuration and the presets of the SAM-Med3D backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from cmc_sdk.errors import ConfigError
from cmc_sdk.strict_model import StrictModel

__all__ = ["PRESETS", "EncoderPreset", "ModelConfig", "PresetName", "check_model_config", "model_faults"]

PresetName = Literal["base", "small", "tiny"]


@dataclass(frozen=True)
class EncoderPreset:
    """One size of the SAM-Med3D encoder, with the decoder that fits it.

    Args:
        window_vox: Default edge of the cubic input window.
        patch: Edge of a token in voxels; the grid has window_vox / patch tokens per axis.
        dim: Width of the tokens.
        depth: Number of transformer blocks.
        heads: Attention heads; dim / heads channels each.
        attention_window: Edge in tokens to which windowed blocks pad (method: "Windows are zero-padded").
        global_blocks: Blocks whose attention has no padding.
        skip_blocks: Blocks whose output tokens the decoder also takes, deepest first: one per up-sampling stage
            but the last.
        channels: Channels C of the features after the neck.
        late_channels: Decoder channels of the stages after the first two.
        residual_blocks: Whether the last stage uses MONAI's residual blocks (else its plain two-convolution blocks).
        adapters: Whether blocks carry an adapter by default.
        bottleneck: Width of an adapter.
    """

    window_vox: int
    patch: int
    dim: int
    depth: int
    heads: int
    attention_window: int
    global_blocks: tuple[int, ...]
    skip_blocks: tuple[int, ...]
    channels: int
    late_channels: tuple[int, ...]
    residual_blocks: bool
    adapters: bool
    bottleneck: int

    @property
    def stages(self) -> int:
        """Number of up-sampling stages of the decoder, log2(patch)."""
        return self.patch.bit_length() - 1


PRESETS: dict[PresetName, EncoderPreset] = {
    # The public SAM-Med3D encoder, `vit_b_ori`.
    "base": EncoderPreset(
        window_vox=128,
        patch=16,
        dim=768,
        depth=12,
        heads=12,
        attention_window=14,
        global_blocks=(2, 5, 8, 11),
        skip_blocks=(8, 5, 2),
        channels=384,
        late_channels=(24, 8),
        residual_blocks=True,
        adapters=True,
        bottleneck=192,
    ),
    "small": EncoderPreset(
        window_vox=64,
        patch=8,
        dim=192,
        depth=6,
        heads=6,
        attention_window=14,
        global_blocks=(2, 5),
        skip_blocks=(3, 1),
        channels=128,
        late_channels=(8,),
        residual_blocks=False,
        adapters=True,
        bottleneck=48,
    ),
    "tiny": EncoderPreset(
        window_vox=48,
        patch=8,
        dim=96,
        depth=4,
        heads=4,
        attention_window=14,
        global_blocks=(1, 3),
        skip_blocks=(2, 0),
        channels=64,
        late_channels=(8,),
        residual_blocks=False,
        adapters=True,
        bottleneck=24,
    ),
}


class ModelConfig(StrictModel):
    """The network of one training run.

    Args:
        backbone: `sam_med3d` (transformer, paper section 2.1) or `unet3d` (the released code's U-Net).
        preset: Size of the `sam_med3d` backbone; `base` is the public one. Gives `window_vox` its default.
        window_vox: Edge of the cubic input window in voxels; None for the preset's.
        width: Channels after the first stage of `unet3d`; 64 fits the public U-Net weights.
        adapters: Adapters in every block; None for the preset's default (`unet3d` has none).
        train_mlp: False freezes the MLPs and the blocks' LayerNorms too, so that all modalities share one frozen base.
        pretrained: Path of a public checkpoint to start from.
        freeze: Freeze patch embedding, position and attention; None: exactly where `pretrained` is set and the
            backbone is `sam_med3d`.
        combine: How fused and own features become the decoder's input: the figure's sum, or the released code's
            concatenation.
    """

    backbone: Literal["sam_med3d", "unet3d"] = "sam_med3d"
    preset: PresetName = "base"
    window_vox: Annotated[int, Field(ge=8)] | None = None
    width: Annotated[int, Field(ge=4)] = 64
    adapters: bool | None = None
    train_mlp: bool = True
    pretrained: str | None = None
    freeze: bool | None = None
    combine: Literal["add", "concat"] = "add"

    @property
    def window(self) -> int:
        """Edge of the input window in voxels, the preset's where none was given."""
        return PRESETS[self.preset].window_vox if self.window_vox is None else self.window_vox

    @property
    def with_adapters(self) -> bool:
        """Whether the encoders carry adapters."""
        if self.backbone == "unet3d":
            return False
        return PRESETS[self.preset].adapters if self.adapters is None else self.adapters

    @property
    def frozen(self) -> bool:
        """Whether the pre-trained part is frozen."""
        if self.backbone == "unet3d":
            return False
        return self.pretrained is not None if self.freeze is None else self.freeze


def model_faults(config: ModelConfig) -> list[str]:
    """All that is wrong with `config`, each with its way out; empty when the network can be built."""
    faults = []
    if config.backbone == "unet3d":
        faults += _unet3d_faults(config)
    else:
        faults += _sam_med3d_faults(config)
    if config.pretrained is None and (config.freeze or not config.train_mlp):
        option = "freeze: true" if config.freeze else "train_mlp: false"
        faults.append(
            f"{option} freezes weights that were never trained; set pretrained to a public checkpoint, or leave it out"
        )
    return faults


def check_model_config(config: ModelConfig) -> None:
    """Raise ConfigError that lists every fault of `config`."""
    faults = model_faults(config)
    if faults:
        raise ConfigError("model: " + " | ".join(faults))


def _sam_med3d_faults(config: ModelConfig) -> list[str]:
    preset = PRESETS[config.preset]
    largest = preset.attention_window * preset.patch
    faults = []
    if config.window % preset.patch or not 2 * preset.patch <= config.window <= largest:
        faults.append(
            f"window_vox {config.window} with preset {config.preset}; give a multiple of {preset.patch} "
            f"from {2 * preset.patch} to {largest}"
        )
    if config.freeze is False and not config.train_mlp:
        faults.append("train_mlp: false with freeze: false; set one of them to true")
    return faults


def _unet3d_faults(config: ModelConfig) -> list[str]:
    faults = []
    if config.window % 8 or config.window < 16:
        faults.append(f"window_vox {config.window} with backbone unet3d; give a multiple of 8, at least 16")
    if config.width % 4:
        faults.append(f"width {config.width}; give a multiple of 4")
    if config.adapters:
        faults.append("adapters: true with backbone unet3d, which has none; leave it out")
    if config.freeze or not config.train_mlp:
        faults.append("freeze or train_mlp: false with backbone unet3d, of which nothing is frozen; leave both out")
    return faults
