"""Cross-modal semantic consistency (CSC): corresponding channels of two modalities' features should say the same."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from cmc_sdk.errors import InputError
from cmc_sdk.training.losses.supervised import Reduction, reduce

__all__ = ["Descriptor", "csc_loss"]

Descriptor = Literal["spatial", "quantile", "gram", "nce"]
"""What of a channel is compared; see `csc_loss`."""

QUANTILES = 16
EPSILON = 1e-4


def csc_loss(
    feat_a: Tensor,
    feat_b: Tensor,
    descriptor: Descriptor = "spatial",
    *,
    temperature: float = 0.5,
    reduction: Reduction = "mean",
) -> Tensor:
    """Channel-wise consistency of two modalities' encoder features (paper, L_CSC).

        L_CSC = (1/BC) Σ_b Σ_c [ 1 − cos( d(F^a_bc), d(F^b_bc) ) ]

    with d one of
        spatial    the channel's map, flattened: voxel by voxel, for corresponding windows
        quantile   16 order statistics of the map (equally spaced quantiles from minimum to maximum): no correspondence
        gram       the channel's row of the matrix of correlations between channels: no correspondence, grids may differ
    and, in place of 1 − cos, for
        nce        InfoNCE across channels, S_ij = cos(F^a_bi, F^b_bj) / τ:
                   −½ [ log softmax_j(S_cj)_c + log softmax_j(S_jc)_c ]
    1 − cos(u, v) is computed as ½‖û − v̂‖², û = u / sqrt(‖u‖² + 1e-8): the same number, without cancellation, and 0
    rather than 1 where both channels are zero. Identical features give 0, except for `nce`. A constant channel is a
    trivial solution: watch `channel_variance`.

    Args:
        feat_a: F of one modality, (B, C, X, Y, Z), any floating dtype; computed in FP32.
        feat_b: F of another, (B, C, X', Y', Z'); the grid must be that of `feat_a` for `spatial` and `nce`.
        descriptor: What is compared.
        temperature: τ of `nce`, > 0.
        reduction: `mean` for a scalar, `none` for (B,).

    Raises:
        InputError: An unknown descriptor, or shapes that it cannot compare.
    """
    if descriptor not in get_args(Descriptor):
        raise InputError(f"unknown CSC descriptor {descriptor!r}", mend=f"use one of {', '.join(get_args(Descriptor))}")
    _check_shapes(feat_a, feat_b, descriptor)
    with torch.autocast(feat_a.device.type, enabled=False):
        map_a, map_b = feat_a.float().flatten(2), feat_b.float().flatten(2)  # (B, C, voxels)
        if descriptor == "nce":
            return reduce(_info_nce(map_a, map_b, temperature), reduction)
        if descriptor == "quantile":
            map_a, map_b = _quantiles(map_a), _quantiles(map_b)
        elif descriptor == "gram":
            map_a, map_b = _correlations(map_a), _correlations(map_b)
        distance = 0.5 * (_unit(map_a) - _unit(map_b)).square().sum(dim=2)
        return reduce(distance.mean(dim=1), reduction)


def _unit(vectors: Tensor) -> Tensor:
    return vectors * torch.rsqrt(vectors.square().sum(dim=-1, keepdim=True) + EPSILON**2)


def _quantiles(maps: Tensor) -> Tensor:
    """(B, C, 16): sorted values read at equally spaced ranks, so that grids of different size compare."""
    ordered = maps.sort(dim=2).values
    last = ordered.shape[2] - 1
    rank = torch.linspace(0, last, QUANTILES, device=maps.device)
    low = rank.floor().long()
    high = (low + 1).clamp(max=last)
    return torch.lerp(ordered[..., low], ordered[..., high], rank - low)


def _correlations(maps: Tensor) -> Tensor:
    """(B, C, C): correlation over voxels between every two channels."""
    centred = _unit(maps - maps.mean(dim=2, keepdim=True))
    return centred @ centred.transpose(1, 2)


def _info_nce(map_a: Tensor, map_b: Tensor, temperature: float) -> Tensor:
    """(B,): mean over channels and both directions; the matching channel is the positive, all others negatives."""
    similarity = _unit(map_a) @ _unit(map_b).transpose(1, 2) / temperature  # (B, C, C)
    forward = functional.log_softmax(similarity, dim=2).diagonal(dim1=1, dim2=2)
    backward = functional.log_softmax(similarity, dim=1).diagonal(dim1=1, dim2=2)
    return -0.5 * (forward + backward).mean(dim=1)


def _check_shapes(feat_a: Tensor, feat_b: Tensor, descriptor: Descriptor) -> None:
    shapes = f"{tuple(feat_a.shape)} and {tuple(feat_b.shape)}"
    if feat_a.ndim < 3 or feat_a.shape[:2] != feat_b.shape[:2]:
        raise InputError(f"features of shapes {shapes} differ in batch or channels", mend="give (B, C, X, Y, Z) twice")
    if descriptor in ("spatial", "nce") and feat_a.shape != feat_b.shape:
        raise InputError(
            f"descriptor {descriptor!r} compares voxel by voxel, the features have shapes {shapes}",
            mend="use descriptor 'gram' or 'quantile', which need no common grid",
        )
