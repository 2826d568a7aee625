"""Cross-modal anatomical consistency (CAC): two modalities' predictions of one anatomy should agree."""

from __future__ import annotations

import torch
from torch import Tensor

from cmc_sdk.errors import InputError
from cmc_sdk.training.losses.supervised import Reduction, reduce

__all__ = ["cac_loss", "mean_over_present", "present_classes"]


def cac_loss(prob_a: Tensor, prob_b: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Voxel-wise soft Dice between two modalities' predictions on corresponding windows (paper, L_CAC).

        L_CAC = 1 − mean_{k≥1, present} 2 Σ p^a_k p^b_k / (Σ (p^a_k)² + Σ (p^b_k)²)

    A foreground class is present in a sample if max p_k > .5 in either prediction (no gradient through that choice).
    Mean per sample over its present classes, then over samples; a sample with none present gives 0. Only meaningful
    where voxel i of one window is the same place as voxel i of the other (`world`, or by assertion `body`): without
    correspondence it is strongly harmful; use `moments_loss` there.

    Args:
        prob_a: softmax of one modality's logits, (B, K, X, Y, Z), class 0 background; computed in FP32.
        prob_b: The same of another modality, same shape.
        reduction: `mean` for a scalar, `none` for (B,).

    Raises:
        InputError: The shapes differ.
    """
    if prob_a.shape != prob_b.shape or prob_a.ndim < 3:
        raise InputError(
            f"predictions of shapes {tuple(prob_a.shape)} and {tuple(prob_b.shape)} cannot be compared voxel by voxel",
            mend="give windows of one size, or use cac: moments",
        )
    with torch.autocast(prob_a.device.type, enabled=False):
        a, b = prob_a.float()[:, 1:].flatten(2), prob_b.float()[:, 1:].flatten(2)  # (B, K-1, voxels)
        present = present_classes(prob_a, prob_b)
        overlap = 2 * (a * b).sum(dim=2)
        size = a.square().sum(dim=2) + b.square().sum(dim=2)
        # where before the division: an absent class with size 0 must not turn its gradient into NaN.
        dice = overlap / torch.where(present, size, torch.ones_like(size))
        return reduce(mean_over_present(1 - dice, present), reduction)


def present_classes(prob_a: Tensor, prob_b: Tensor) -> Tensor:
    """(B, K-1) bool: which foreground classes either prediction claims somewhere with p > .5; detached."""
    highest_a = prob_a.detach()[:, 1:].flatten(2).amax(dim=2)
    highest_b = prob_b.detach()[:, 1:].flatten(2).amax(dim=2)
    return torch.maximum(highest_a.float(), highest_b.float()) > 0.5


def mean_over_present(values: Tensor, present: Tensor) -> Tensor:
    """(B,): mean of `values` (B, K-1) over each sample's own present classes; 0 for a sample with none."""
    kept = torch.where(present, values, torch.zeros_like(values))
    return kept.sum(dim=1) / present.sum(dim=1).clamp(min=1)
