"""Distances to the surface of a class, written plainly: every voxel is looked at, every pair compared."""

from __future__ import annotations

import itertools

import numpy as np


def surface_voxels(labels: np.ndarray, label: int) -> list[tuple[int, int, int]]:
    """Voxels of the class that have a face neighbour of another class, or none."""
    found = []
    for index in itertools.product(*(range(size) for size in labels.shape)):
        if labels[index] != label:
            continue
        for axis, step in itertools.product(range(3), (-1, 1)):
            neighbour = list(index)
            neighbour[axis] += step
            outside = not 0 <= neighbour[axis] < labels.shape[axis]
            if outside or labels[tuple(neighbour)] != label:
                found.append(index)
                break
    return found


def surface_distances(labels: np.ndarray, label: int, points: np.ndarray, spacing: tuple) -> np.ndarray:
    """Of each point (N, 3) to the nearest surface voxel, infinite without one."""
    surface = surface_voxels(labels, label)
    found = []
    for point in points:
        squares = [sum((s * (a - b)) ** 2 for s, a, b in zip(spacing, point, other, strict=True)) for other in surface]
        found.append(np.sqrt(min(squares)) if squares else np.inf)
    return np.array(found, dtype=float)
