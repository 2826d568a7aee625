"""A sliding window by the book: all logits at once in double precision, no ring; no look at cmc_sdk.runtime."""

from __future__ import annotations

import itertools
import math

import numpy as np


def gaussian(window, sigma_scale=0.125):
    """The dense weight map of a window."""
    out = np.zeros(window)
    for index in itertools.product(*map(range, window)):
        square = sum(((i - (n - 1) / 2) / (sigma_scale * n)) ** 2 for i, n in zip(index, window, strict=True))
        out[index] = math.exp(-0.5 * square)
    return out


def blend(logits_by_start, *, size, window):
    """Weighted mean (K, X, Y, Z) of the windows' logits on a grid; windows may hang over its edges."""
    weights = gaussian(window)
    classes = len(next(iter(logits_by_start.values())))
    margin = max(window)
    total = np.zeros((classes, *(n + 2 * margin for n in size)))
    mass = np.zeros(total.shape[1:])
    for start, logits in logits_by_start.items():
        place = tuple(slice(first + margin, first + margin + side) for first, side in zip(start, window, strict=True))
        total[(slice(None), *place)] += logits * weights
        mass[place] += weights
    inner = tuple(slice(margin, margin + n) for n in size)
    return total[(slice(None), *inner)] / mass[inner]


def trilinear(field, position):
    """(K,) values of (K, X, Y, Z) at one position; beyond the outer voxels their value goes on."""
    value = np.zeros(len(field))
    corners = []
    for coordinate, size in zip(position, field.shape[1:], strict=True):
        inside = min(max(coordinate, 0.0), size - 1.0)
        lower = min(math.floor(inside), max(size - 2, 0))
        corners.append(((lower, 1.0 - (inside - lower)), (min(lower + 1, size - 1), inside - lower)))
    for (x, a), (y, b), (z, c) in itertools.product(*corners):
        value += a * b * c * field[:, x, y, z]
    return value


def label_grid(field, *, model_affine, target_affine, target_size):
    """Labels, softmax of the label, and the margin between the two largest logits, on a target grid."""
    matrix = np.linalg.inv(model_affine) @ target_affine
    labels = np.zeros(target_size, np.uint8)
    confidence, lead = np.zeros(target_size), np.zeros(target_size)
    for index in itertools.product(*map(range, target_size)):
        logits = trilinear(field, (matrix @ np.array([*index, 1.0]))[:3])
        best = int(logits.argmax())
        labels[index] = best
        confidence[index] = 1.0 / np.exp(logits - logits[best]).sum()
        lead[index] = logits[best] - np.sort(logits)[-2]
    return labels, confidence, lead
