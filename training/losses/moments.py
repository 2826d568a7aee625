"""A volume and shape regulariser for predictions without any spatial correspondence."""

from __future__ import annotations

import torch
from torch import Tensor

from cmc_sdk.errors import InputError
from cmc_sdk.training.losses.cac import mean_over_present, present_classes
from cmc_sdk.training.losses.supervised import Reduction, reduce

__all__ = ["moments_loss"]

EPSILON = 1e-8


def moments_loss(
    prob_a: Tensor, prob_b: Tensor, *, body_a: Tensor, body_b: Tensor, reduction: Reduction = "mean"
) -> Tensor:
    """Compare volumes and second moments of two predictions in body-normalised coordinates (`cac: moments`).

        L = mean_{k≥1, present} [ |v^a_k − v^b_k| + ‖Σ^a_k − Σ^b_k‖_F / (‖Σ^a_k‖_F + ‖Σ^b_k‖_F) ]
        v_k = |det J| Σ_i p_k(i)                                share of the body box's volume
        μ_k = Σ_i p_k(i) x(i) / Σ_i p_k(i)                      x(i) = J i + o, the body-normalised place of voxel i
        Σ_k = Σ_i p_k(i) (x(i) − μ_k)(x(i) − μ_k)ᵀ / Σ_i p_k(i)

    Present as in `cac_loss`: max p_k > .5 in either prediction, mean per sample over its present classes, then over
    samples, 0 with none present. Positions drop out, so no alignment is needed; two patients of one modality serve it
    as well: it regularises size and shape and is not cross-modal evidence.

    Args:
        prob_a: softmax of one modality's logits, (B, K, X, Y, Z); computed in FP32.
        prob_b: The same of another modality, (B, K, X', Y', Z').
        body_a: (B, 3, 4), [J | o]: window voxel index (i, j, k, 1) → body-normalised coordinates in [0, 1]³ of a.
        body_b: The same for b.
        reduction: `mean` for a scalar, `none` for (B,).

    Raises:
        InputError: Batch or class count differ, or a body matrix is not (B, 3, 4).
    """
    batch = prob_a.shape[0]
    if prob_a.ndim != 5 or prob_b.ndim != 5 or prob_a.shape[:2] != prob_b.shape[:2]:
        raise InputError(
            f"predictions of shapes {tuple(prob_a.shape)} and {tuple(prob_b.shape)} differ in batch or classes",
            mend="give (B, K, X, Y, Z) twice",
        )
    for body in (body_a, body_b):
        if tuple(body.shape) != (batch, 3, 4):
            raise InputError(f"a body matrix has shape {tuple(body.shape)}", mend=f"give ({batch}, 3, 4)")
    with torch.autocast(prob_a.device.type, enabled=False):
        volume_a, shape_a = _moments(prob_a.float()[:, 1:], body_a.float())
        volume_b, shape_b = _moments(prob_b.float()[:, 1:], body_b.float())
        difference = (shape_a - shape_b).flatten(2).norm(dim=2)
        size = shape_a.flatten(2).norm(dim=2) + shape_b.flatten(2).norm(dim=2)
        per_class = (volume_a - volume_b).abs() + difference / (size + EPSILON)
        return reduce(mean_over_present(per_class, present_classes(prob_a, prob_b)), reduction)


def _moments(prob: Tensor, body: Tensor) -> tuple[Tensor, Tensor]:
    """Volume fractions (B, K) and second central moments (B, K, 3, 3) of `prob` (B, K, X, Y, Z).

    Sums over planes first: the moments of an affine grid need only the three two-axis marginals.
    """
    mass = prob.flatten(2).sum(dim=2)
    marginals = {(0, 1): prob.sum(dim=4), (0, 2): prob.sum(dim=3), (1, 2): prob.sum(dim=2)}
    lines = (marginals[0, 1].sum(dim=3), marginals[0, 1].sum(dim=2), marginals[0, 2].sum(dim=2))  # (B, K, axis)
    safe_mass = mass + EPSILON
    centred = []
    for line in lines:
        index = torch.arange(line.shape[2], device=prob.device, dtype=prob.dtype)
        mean = (line * index).sum(dim=2) / safe_mass
        centred.append(index - mean.unsqueeze(2))  # (B, K, axis)
    rows = []
    for i in range(3):
        row = []
        for j in range(3):
            if i == j:
                row.append((lines[i] * centred[i].square()).sum(dim=2))
            else:
                low, high = min(i, j), max(i, j)
                row.append(torch.einsum("bkxy,bkx,bky->bk", marginals[low, high], centred[low], centred[high]))
        rows.append(torch.stack(row, dim=2))
    voxel_moment = torch.stack(rows, dim=2) / safe_mass[..., None, None]
    jacobian = body[:, None, :, :3]  # (B, 1, 3, 3)
    return mass * torch.linalg.det(body[:, :, :3]).abs()[:, None], jacobian @ voxel_moment @ jacobian.transpose(2, 3)
