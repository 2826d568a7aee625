"""Intensity perturbations of unlabelled windows, for methods that compare two views of one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cmc_sdk.training.data.randomness import random_generator

__all__ = ["STRONG", "WEAK", "Perturbation", "perturb"]


@dataclass(frozen=True)
class Perturbation:
    """Bounds of a random intensity change, in units of the window's own standard deviation.

    Args:
        scale: Contrast is multiplied by 1 ± up to this.
        shift: Brightness moves by up to this, either way.
        noise: Standard deviation of the added noise.
    """

    scale: float
    shift: float
    noise: float


WEAK = Perturbation(scale=0.05, shift=0.05, noise=0.02)
STRONG = Perturbation(scale=0.3, shift=0.3, noise=0.2)


def perturb(
    image: Tensor, *, strength: Perturbation, seed: int, step: int, purpose: str, first_sample: int = 0
) -> Tensor:
    """x ← x·(1 + u_1) + σ·u_2 + σ·n, σ the window's standard deviation; nothing moves in space.

    Args:
        image: (B, 1, X, Y, Z) f32.
        strength: Bounds of u_1, u_2 and the noise n.
        seed: The run's seed.
        step: Optimiser step.
        purpose: What the draws are for; name the modality in it.
        first_sample: Number of the batch's first sample within the step.

    Returns:
        The same shape; sample i depends on (seed, step, first_sample + i, purpose) and its own voxels only.
    """
    changed = []
    for row, window in enumerate(image):
        draw = random_generator(seed, step=step, sample=first_sample + row, purpose=purpose)
        scale, shift = (float(value) for value in draw.uniform(-1.0, 1.0, size=2))
        noise = torch.from_numpy(draw.standard_normal(tuple(window.shape), dtype="float32")).to(image.device)
        sigma = window.std()
        changed.append(
            window * (1.0 + strength.scale * scale) + sigma * (strength.shift * shift + strength.noise * noise)
        )
    return torch.stack(changed)
