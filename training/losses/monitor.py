"""Quantities to watch beside the losses: they show the failures that a falling loss hides."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["channel_variance", "foreground_ratio", "fused_minus_alone"]


@torch.no_grad()
def channel_variance(features: Tensor) -> float:
    """Mean over samples and channels of a channel's variance over its voxels.

    Constant channels are a trivial solution of CSC: a value that falls towards 0 says that it is being taken.

    Args:
        features: F of one modality, (B, C, X, Y, Z).
    """
    return float(features.float().flatten(2).var(dim=2, correction=0).mean())


@torch.no_grad()
def foreground_ratio(logits: Tensor) -> float:
    """Share of voxels whose most probable class is not background, in [0, 1].

    Over-segmentation, each decoder drifting to the other's anatomy, is how a harmful CAC shows.

    Args:
        logits: (B, K, X, Y, Z).
    """
    return float((logits.argmax(dim=1) > 0).float().mean())


def fused_minus_alone(fused: Iterable[float], alone: Iterable[float]) -> float:
    """Mean Dice of a modality with all present minus its mean Dice with the others absent, NaN pairs left out.

    A large negative value says that the other modality misleads: CAC or fusion does harm.

    Args:
        fused: One modality's Dice of each case and class with every modality present.
        alone: The same cases and classes, in the same order, with this modality alone.

    Returns:
        The difference; NaN if no pair is finite.
    """
    differences = [f - a for f, a in zip(fused, alone, strict=True) if not (math.isnan(f) or math.isnan(a))]
    return sum(differences) / len(differences) if differences else math.nan
