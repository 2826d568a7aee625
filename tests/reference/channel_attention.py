"""MIA and fusion in plain numpy and float64, sample by sample and channel by channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]


def mia(state: Mapping[str, Array], features: Array) -> tuple[Array, Array]:
    """F_mia and A of one sample's features (C, X, Y, Z)."""
    channels, *grid = features.shape
    u = convolve(features, state["phi1.0.weight"], state["phi1.0.bias"])
    u = gelu(instance_norm(u, state["phi1.1.weight"], state["phi1.1.bias"]))
    v = convolve(np.concatenate([features, u]), state["phi2.weight"], state["phi2.bias"]).reshape(channels, -1)
    tau = min(max(float(np.exp(state["log_tau"])), 0.05), 1.0)
    attention = np.empty((channels, channels))
    for i in range(channels):
        cosine = [float(v[i] @ v[j]) / (np.linalg.norm(v[i]) * np.linalg.norm(v[j])) for j in range(channels)]
        weights = np.exp(np.array(cosine) / tau)
        attention[i] = weights / weights.sum()
    mixed = (attention @ v).reshape(channels, *grid)
    return features + state["gamma"] * convolve(mixed, state["phi3.weight"], state["phi3.bias"]), attention


def fused(state: Mapping[str, Array], features: list[Array]) -> Array:
    """Z of one sample from F_mia of all modalities."""
    z = convolve(np.concatenate(features), state["phi.0.weight"], state["phi.0.bias"])
    z = gelu(instance_norm(z, state["phi.1.weight"], state["phi.1.bias"]))
    return convolve(z, state["phi.3.weight"], state["phi.3.bias"])


def convolve(x: Array, weight: Array, bias: Array) -> Array:
    """Cross-correlation of (C, X, Y, Z) with zero padding that keeps the size; weight (O, C, k, k, k), k odd."""
    reach = weight.shape[-1] // 2
    padded = np.pad(x, [(0, 0)] + [(reach, reach)] * 3)
    out = np.empty((weight.shape[0], *x.shape[1:]))
    for place in np.ndindex(*x.shape[1:]):
        patch = padded[(slice(None), *(slice(start, start + weight.shape[-1]) for start in place))]
        out[(slice(None), *place)] = np.tensordot(weight, patch, axes=4) + bias
    return out


def instance_norm(x: Array, weight: Array, bias: Array) -> Array:
    """Each channel of (C, X, Y, Z) to mean 0 and variance 1 over its voxels, then scaled and shifted."""
    return np.stack([w * (c - c.mean()) / np.sqrt(c.var() + 1e-5) + b for c, w, b in zip(x, weight, bias, strict=True)])


def gelu(x: Array) -> Array:
    """x·Φ(x)."""
    return x * 0.5 * (1.0 + erf(x / np.sqrt(2.0)))
