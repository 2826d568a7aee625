"""The supervised loss: cross-entropy plus squared soft Dice, fair to windows in which a class is absent."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cmc_sdk.errors import InputError

__all__ = ["Reduction", "reduce", "supervised_loss"]

Reduction = Literal["mean", "none"]
"""`mean`: over samples, a scalar; `none`: one value per sample, (B,)."""

SMOOTH = 1e-5


def supervised_loss(logits: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """DiceCE of one modality's logits (paper, L_sup).

        p = softmax(logits),  y = one-hot(target)
        L_b   = CE_b + mean_{k present in y_b} [ 1 − (2 Σ p_k y_k + ε) / (Σ p_k² + Σ y_k² + ε) ]
        L_sup = mean_b L_b,   CE_b the mean over the voxels of sample b,  ε = 1e-5

    A class without a voxel in a sample's target takes part in its cross-entropy only. Background counts as a class.
    Each sample is averaged over its own present classes and then over samples, so that the gradients of two half
    batches average to those of the whole. Where every class is present this is MONAI's
    `DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=True)`.

    Args:
        logits: (B, K, X, Y, Z), any floating dtype; computed in FP32.
        target: (B, X, Y, Z), int64, values 0 … K-1.
        reduction: `mean` for a scalar, `none` for (B,).

    Raises:
        InputError: The shapes do not fit, or a target value lies outside 0 … K-1.
    """
    if logits.ndim < 3 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise InputError(
            f"the target has shape {tuple(target.shape)}, the logits {tuple(logits.shape)}",
            mend="give class indices of shape (B, X, Y, Z) for logits of shape (B, K, X, Y, Z)",
        )
    classes = logits.shape[1]
    lowest, highest = (int(target.min()), int(target.max())) if target.numel() else (0, 0)
    if lowest < 0 or highest >= classes:
        raise InputError(
            f"the target holds values {lowest} … {highest}, the network has classes 0 … {classes - 1}",
            mend="mend the label maps or the class table",
        )
    with torch.autocast(logits.device.type, enabled=False):
        log_prob = torch.log_softmax(logits.float().flatten(2), dim=1)
        index = target.flatten(1).unsqueeze(1)
        cross_entropy = -log_prob.gather(1, index).squeeze(1).mean(dim=1)
        prob = log_prob.exp()
        onehot = torch.zeros_like(prob).scatter_(1, index, 1.0)
        volume = onehot.sum(dim=2)
        overlap = 2 * (prob * onehot).sum(dim=2) + SMOOTH
        dice_loss = 1 - overlap / (prob.square().sum(dim=2) + volume + SMOOTH)
        present = (volume > 0).float()
        per_sample = cross_entropy + (dice_loss * present).sum(dim=1) / present.sum(dim=1)
        return reduce(per_sample, reduction)


def reduce(per_sample: Tensor, reduction: Reduction) -> Tensor:
    """`per_sample` (B,) as it is, or its mean."""
    return per_sample if reduction == "none" else per_sample.mean()
