"""The released code's forward pass at batch 1, restated on its state dict with true batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def forward(state: State, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of both modalities from two windows (1, 1, X, Y, Z)."""
    deep_a, skips_a = encode(state, a)
    deep_b, skips_b = encode(state, b)
    deep_a, deep_b = attend(state, deep_a), attend(state, deep_b)
    fused = unit(state, "fusion_layer.layer1", torch.cat([deep_a, deep_b], 1))
    fused = torch.sigmoid(unit(state, "fusion_layer.layer2", fused))
    return decode(state, fused, deep_a, skips_a), decode(state, fused, deep_b, skips_b)


def unit(state: State, name: str, x: Tensor) -> Tensor:
    """Convolution, batch normalisation by this batch's statistics, ReLU."""
    x = F.conv3d(x, state[f"{name}.conv1.weight"], state[f"{name}.conv1.bias"], padding=1)
    mean, variance = x.mean((0, 2, 3, 4), keepdim=True), x.var((0, 2, 3, 4), unbiased=False, keepdim=True)
    weight, bias = (state[f"{name}.bn1.{kind}"].reshape(1, -1, 1, 1, 1) for kind in ("weight", "bias"))
    return torch.relu((x - mean) / torch.sqrt(variance + 1e-5) * weight + bias)


def encode(state: State, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Deepest features and the three maps before each pooling."""
    skips = []
    for stage in ("down_tr64", "down_tr128", "down_tr256", "down_tr512"):
        for step in (0, 1):
            x = unit(state, f"image_encoder.{stage}.ops.{step}", x)
        if stage != "down_tr512":
            skips.append(x)
            x = F.max_pool3d(x, 2)
    return x, skips


def attend(state: State, x: Tensor) -> Tensor:
    """F + gamma softmax(max − F Fᵀ) F."""
    rows = x[0].flatten(1)
    energy = rows @ rows.T
    weights = torch.softmax(energy.max(dim=1, keepdim=True).values - energy, dim=1)
    return x + state["MIA_module.gamma"] * (weights @ rows).reshape(x.shape)


def decode(state: State, fused: Tensor, own: Tensor, skips: list[Tensor]) -> Tensor:
    """Concatenate, GroupNorm, ReLU, 1³ convolution, three up-sampling stages, 1³ convolution."""
    x = torch.cat([fused, own], 1)
    x = torch.relu(F.group_norm(x, 16, state["conv3d_convert.0.weight"], state["conv3d_convert.0.bias"]))
    x = F.conv3d(x, state["conv3d_convert.2.weight"], state["conv3d_convert.2.bias"])
    for stage, skip in zip(("up_tr256", "up_tr128", "up_tr64"), reversed(skips), strict=True):
        name = f"decoder.{stage}"
        x = F.conv_transpose3d(x, state[f"{name}.up_conv.weight"], state[f"{name}.up_conv.bias"], stride=2)
        x = torch.cat([x, skip], 1)
        for step in (0, 1):
            x = unit(state, f"{name}.ops.{step}", x)
    return F.conv3d(x, state["decoder.out_tr.conv.conv.weight"], state["decoder.out_tr.conv.conv.bias"])
