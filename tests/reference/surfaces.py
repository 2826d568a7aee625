"""Overlap and surface measures written plainly: every voxel is looked at, every pair of points compared."""

from __future__ import annotations

import itertools

import numpy as np


def surface_points(mask: np.ndarray, affine: np.ndarray) -> list[np.ndarray]:
    """RAS positions of the voxels that have a face neighbour outside the mask."""
    points = []
    for index in itertools.product(*(range(size) for size in mask.shape)):
        if not mask[index]:
            continue
        for axis, step in itertools.product(range(3), (-1, 1)):
            neighbour = list(index)
            neighbour[axis] += step
            outside = not 0 <= neighbour[axis] < mask.shape[axis]
            if outside or not mask[tuple(neighbour)]:
                points.append((affine @ np.array([*index, 1.0]))[:3])
                break
    return points


def directed_distances(from_points: list[np.ndarray], to_points: list[np.ndarray]) -> list[float]:
    return [min(float(np.sqrt(((point - other) ** 2).sum())) for other in to_points) for point in from_points]


def measures(predicted: np.ndarray, reference: np.ndarray, affine: np.ndarray, tolerance_mm: float) -> dict[str, float]:
    ours, theirs = surface_points(predicted, affine), surface_points(reference, affine)
    forth, back = directed_distances(ours, theirs), directed_distances(theirs, ours)
    near = sum(d <= tolerance_mm for d in forth) + sum(d <= tolerance_mm for d in back)
    edges = [affine[:3, axis] for axis in range(3)]
    voxel_ml = abs(float(np.dot(edges[0], np.cross(edges[1], edges[2])))) / 1000.0
    false_positive = sum(
        1
        for index in itertools.product(*(range(size) for size in reference.shape))
        if predicted[index] and not reference[index]
    )
    return {
        "dice": 2.0 * float((predicted & reference).sum()) / float(predicted.sum() + reference.sum()),
        "asd_mm": sum(forth + back) / len(forth + back),
        "hd95_mm": max(percentile(forth, 0.95), percentile(back, 0.95)),
        "nsd": near / (len(forth) + len(back)),
        "false_positive_ml": false_positive * voxel_ml,
        "reference_ml": float(reference.sum()) * voxel_ml,
        "predicted_ml": float(predicted.sum()) * voxel_ml,
    }


def percentile(values: list[float], share: float) -> float:
    """Linear interpolation between the two nearest order statistics."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
