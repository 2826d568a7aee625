"""The released code's network, for its checkpoints only: the same keys and the same logits."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from cmc_sdk.errors import CheckpointError, InputError
from cmc_sdk.training.model.torch_file import fit_faults, read_state_dict

__all__ = ["ReleasedNetwork", "load_released_checkpoint"]


class _SampleNorm(nn.Module):
    """The released BatchNorm, which always uses batch statistics: at batch 1 InstanceNorm, here at every batch.

    Its running averages are kept for the keys; the released forward never reads them.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=1e-5)


class _Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, kernel_size=3, padding=1)
        self.bn1 = _SampleNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.bn1(self.conv1(x))
        return normalised.relu()


class _Down(nn.Module):
    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        self.ops = nn.Sequential(_Unit(inputs, middle), _Unit(middle, outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.ops(x)
        return out


class _Up(nn.Module):
    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up_conv = nn.ConvTranspose3d(inputs, inputs, kernel_size=2, stride=2)
        self.ops = nn.Sequential(_Unit(inputs + skip, outputs), _Unit(outputs, outputs))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.ops(torch.cat((self.up_conv(x), skip), dim=1))
        return out


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down_tr64 = _Down(1, 32, 64)
        self.down_tr128 = _Down(64, 64, 128)
        self.down_tr256 = _Down(128, 128, 256)
        self.down_tr512 = _Down(256, 256, 512)

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        full = self.down_tr64(image)
        half = self.down_tr128(nn.functional.max_pool3d(full, 2))
        quarter = self.down_tr256(nn.functional.max_pool3d(half, 2))
        return self.down_tr512(nn.functional.max_pool3d(quarter, 2)), (full, half, quarter)


class _Output(nn.Module):
    def __init__(self, n_class: int) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        self.conv.add_module("conv", nn.Conv3d(64, n_class, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv(x)
        return logits


class _Decoder(nn.Module):
    def __init__(self, n_class: int) -> None:
        super().__init__()
        self.up_tr256 = _Up(512, 256, 256)
        self.up_tr128 = _Up(256, 128, 128)
        self.up_tr64 = _Up(128, 64, 64)
        self.out_tr = _Output(n_class)

    def forward(self, x: Tensor, skips: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        full, half, quarter = skips
        logits: Tensor = self.out_tr(self.up_tr64(self.up_tr128(self.up_tr256(x, quarter), half), full))
        return logits


class _ChannelAttention(nn.Module):
    """F + γ · softmax(max − F Fᵀ) F: like channels repel."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        rows = features.flatten(2)
        energy = torch.matmul(rows, rows.transpose(1, 2))
        weights = (energy.amax(-1, keepdim=True) - energy).softmax(dim=-1)
        return self.gamma * torch.matmul(weights, rows).reshape(features.shape) + features


class _SigmoidFusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = _Unit(1024, 512)
        self.layer2 = _Unit(512, 512)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        fused: Tensor = self.layer2(self.layer1(torch.cat((a, b), dim=1)))
        return fused.sigmoid()


class ReleasedNetwork(nn.Module):
    """`Semi_SM_model_MIA` of the released code: one encoder, MIA and decoder for both modalities.

    Args:
        n_class: Channels of the logits (14 in the released code).
    """

    def __init__(self, n_class: int = 14) -> None:
        super().__init__()
        self.image_encoder = _Encoder()
        self.decoder = _Decoder(n_class)
        self.MIA_module = _ChannelAttention()
        self.fusion_layer = _SigmoidFusion()
        self.conv3d_convert = nn.Sequential(nn.GroupNorm(16, 1024), nn.ReLU(), nn.Conv3d(1024, 512, kernel_size=1))

    def forward(self, image_a: Tensor, image_b: Tensor) -> tuple[Tensor, Tensor]:
        """Two windows (B, 1, X, Y, Z) of one shape, multiples of 8 → logits (B, n_class, X, Y, Z) of a and of b.

        Raises:
            InputError: The shapes differ (the released code then silently puts the first modality in the second's
                place), or are not multiples of 8.
        """
        if image_a.shape != image_b.shape or any(size % 8 for size in image_a.shape[2:]):
            raise InputError(
                f"windows of shape {tuple(image_a.shape)} and {tuple(image_b.shape)}",
                mend="give both the same shape, (B, 1, X, Y, Z), with X, Y and Z multiples of 8",
            )
        features_a, skips_a = self.image_encoder(image_a)
        features_b, skips_b = self.image_encoder(image_b)
        mia_a, mia_b = self.MIA_module(features_a), self.MIA_module(features_b)
        fused = self.fusion_layer(mia_a, mia_b)
        logits_a = self.decoder(self.conv3d_convert(torch.cat((fused, mia_a), dim=1)), skips_a)
        logits_b = self.decoder(self.conv3d_convert(torch.cat((fused, mia_b), dim=1)), skips_b)
        return logits_a, logits_b


def load_released_checkpoint(path: str | os.PathLike[str]) -> ReleasedNetwork:
    """The network of a checkpoint that the released code wrote; the number of classes follows from its shapes.

    Args:
        path: A file with the state dict of `Semi_SM_model_MIA`, bare or under `state_dict`.

    Raises:
        CheckpointError: The file cannot be read, or its tensors are not exactly those of that model.
    """
    state = read_state_dict(path)
    out = state.get("decoder.out_tr.conv.conv.weight")
    network = ReleasedNetwork(14 if out is None else out.shape[0])
    own = network.state_dict()
    faults = fit_faults(own, state, exact=True)
    if faults:
        raise CheckpointError(
            f"{path}: not a checkpoint of the released Semi_SM_model_MIA: {'; '.join(faults)}",
            mend="give the model.pt that the released code wrote",
        )
    network.load_state_dict(state)
    return network.eval()
