"""Sampling a window by the book: one voxel after the other, all weights written out; no look at cmc_sdk.runtime."""

from __future__ import annotations

import itertools
import math

import numpy as np


def half_widths(matrix):
    """Tent half-width per source axis: how far one step of every window axis goes along it, as a Euclidean length."""
    return [max(1.0, math.sqrt(sum(matrix[row][column] ** 2 for column in range(3)))) for row in range(3)]


def axis_weights(position, half_width, size):
    """Weights of the source voxels 0 … size-1, and the weight that falls outside; together they are 1."""
    inside, outside = np.zeros(size), 0.0
    for index in range(math.floor(position - half_width) - 1, math.ceil(position + half_width) + 2):
        weight = max(0.0, 1.0 - abs(index - position) / half_width)
        if 0 <= index < size:
            inside[index] = weight
        else:
            outside += weight
    total = inside.sum() + outside
    return inside / total, outside / total


def sample_linear(array, source_affine, *, window_affine, size, background):
    """Window of `size` by the tent kernel; the source is thought to go on as `background` without end."""
    matrix = np.linalg.inv(source_affine) @ window_affine
    widths = half_widths(matrix)
    out = np.zeros(size)
    for index in itertools.product(*map(range, size)):
        position = matrix @ np.array([*index, 1.0])
        x, y, z = (axis_weights(position[axis], widths[axis], array.shape[axis])[0] for axis in range(3))
        seen = np.einsum("i,j,k,ijk->", x, y, z, array.astype(np.float64))
        out[index] = seen + (1.0 - x.sum() * y.sum() * z.sum()) * background
    return out


def sample_nearest(array, source_affine, *, window_affine, size, background):
    """Window of `size` by the nearest centre, and where a neighbour is so nearly as near that either may be taken."""
    matrix = np.linalg.inv(source_affine) @ window_affine
    out = np.full(size, background, array.dtype)
    doubtful = np.zeros(size, bool)
    for index in itertools.product(*map(range, size)):
        position = matrix @ np.array([*index, 1.0])
        nearest = [math.floor(value + 0.5) for value in position[:3]]
        doubtful[index] = any(abs(value - math.floor(value) - 0.5) < 1e-4 for value in position[:3])
        if all(0 <= found < count for found, count in zip(nearest, array.shape, strict=True)):
            out[index] = array[tuple(nearest)]
    return out, doubtful
