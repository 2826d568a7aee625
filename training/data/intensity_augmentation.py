"""Intensity augmentation: parameters are drawn here, and applied by MONAI's transforms, deterministically."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms.intensity.array import (
    AdjustContrast,
    RandBiasField,
    RandGaussianNoise,
    ScaleIntensity,
    ShiftIntensity,
)

from cmc_sdk.training.data.config import IntensityAugmentation

__all__ = ["IntensityParameters", "apply_intensity", "draw_intensity"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class IntensityParameters:
    """What was drawn for one modality of one sample; None where a step is left out.

    Args:
        scale: Relative change of contrast.
        shift: Offset in normalised units.
        gamma: Exponent over the window's own range.
        noise: Standard deviation of the noise.
        noise_seed: Seed of the noise, 32 bits.
        bias: Largest coefficient of the bias field.
        bias_seed: Seed of the bias field, 32 bits.
    """

    scale: float | None
    shift: float | None
    gamma: float | None
    noise: float | None
    noise_seed: int
    bias: float | None
    bias_seed: int


def draw_intensity(config: IntensityAugmentation, *, rng: np.random.Generator) -> IntensityParameters:
    """Draw one modality's parameters. Always takes the same number of draws, whatever is switched on."""
    applied = rng.random(5)
    scale, shift = rng.uniform(-1.0, 1.0, size=2)
    gamma = float(np.exp(rng.uniform(np.log(config.gamma[0]), np.log(config.gamma[1]))))
    noise, bias = rng.random(2)
    noise_seed, bias_seed = (int(item) for item in rng.integers(0, 2**32, size=2, dtype=np.uint64))
    on = applied < np.array([*[config.probability] * 4, config.bias_probability])
    return IntensityParameters(
        scale=float(scale * config.scale) if on[0] else None,
        shift=float(shift * config.shift) if on[1] else None,
        gamma=gamma if on[2] else None,
        noise=float(noise * config.noise) if on[3] else None,
        noise_seed=noise_seed,
        bias=float(bias * config.bias) if on[4] else None,
        bias_seed=bias_seed,
    )


def apply_intensity(window: FloatArray, *, parameters: IntensityParameters) -> FloatArray:
    """Apply drawn parameters to a normalised window (1, X, Y, Z); returns a new array, float32.

    The order is bias field, gamma, scale, shift, noise: as in a scanner, noise comes last.
    """
    image: NdarrayOrTensor = window
    if parameters.bias is not None:
        field = RandBiasField(degree=3, coeff_range=(-parameters.bias, parameters.bias), prob=1.0)
        field.set_random_state(state=np.random.RandomState(parameters.bias_seed))
        image = field(image)
    if parameters.gamma is not None:
        image = AdjustContrast(gamma=parameters.gamma)(image)
    if parameters.scale is not None:
        image = ScaleIntensity(minv=None, maxv=None, factor=parameters.scale)(image)
    if parameters.shift is not None:
        image = ShiftIntensity(offset=parameters.shift)(image)
    if parameters.noise is not None:
        noise = RandGaussianNoise(prob=1.0, mean=0.0, std=parameters.noise, sample_std=False)
        noise.set_random_state(state=np.random.RandomState(parameters.noise_seed))
        image = noise(image)
    return np.asarray(image, dtype=np.float32)
