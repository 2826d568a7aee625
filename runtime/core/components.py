"""Connected components of a label map, from runs instead of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ComponentSummary", "summarise_components"]

MAX_RUNS = 2_000_000
"""A label map with more runs than this is not anatomy; counting its pieces would only cost memory."""
SLAB_VOXELS = 1 << 22


@dataclass(frozen=True)
class ComponentSummary:
    """The pieces of one class: how many, and the share of its voxels in the largest."""

    count: int
    largest_share: float


def summarise_components(labels: npt.NDArray[np.uint8]) -> dict[int, ComponentSummary] | None:
    """Pieces of each class that occurs; voxels of one class that share a face belong together.

    Args:
        labels: (X, Y, Z), 0 is background.

    Returns:
        By class index; None if the map is too fragmented to be counted (more than two million runs).
    """
    runs = _runs(labels)
    if runs is None:
        return None
    line, start, end, value = runs
    edges = [
        _touching(runs, step=1, valid=(line + 1) % labels.shape[1] != 0, depth=labels.shape[2]),
        _touching(runs, step=labels.shape[1], valid=np.ones(len(line), bool), depth=labels.shape[2]),
    ]
    first = np.concatenate([edge[0] for edge in edges])
    second = np.concatenate([edge[1] for edge in edges])
    roots = _roots(len(line), first, second)
    sizes = np.bincount(roots, weights=end - start, minlength=len(line))
    found = {}
    is_root = np.nonzero(roots == np.arange(len(line)))[0]
    for index in np.unique(value):
        pieces = sizes[is_root[value[is_root] == index]]
        found[int(index)] = ComponentSummary(len(pieces), float(pieces.max() / pieces.sum()))
    return found


Runs = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]


def _runs(labels: npt.NDArray[np.uint8]) -> Runs | None:
    """Line, start, end and value of each stretch of one class along z, in order; lines count (x, y) in C order."""
    size_x, size_y, depth = labels.shape
    parts: list[Runs] = []
    total = 0
    step = max(1, SLAB_VOXELS // (size_y * depth))
    for x in range(0, size_x, step):
        slab = labels[x : x + step]
        # A background voxel after each line keeps runs from going on in the next.
        padded = np.zeros((slab.shape[0] * size_y, depth + 1), np.uint8)
        padded[:, :depth] = slab.reshape(-1, depth)
        flat = padded.ravel()
        change = np.nonzero(flat[1:] != flat[:-1])[0] + 1
        bounds = np.concatenate([[0], change, [flat.size]])
        value = flat[bounds[:-1]]
        chosen = value > 0
        begin, stop = bounds[:-1][chosen], bounds[1:][chosen]
        total += len(begin)
        if total > MAX_RUNS:
            return None
        line = begin // (depth + 1)
        parts.append((line + x * size_y, begin - line * (depth + 1), stop - line * (depth + 1), value[chosen]))
    line, start, end, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    return line, start, end, value


def _touching(
    runs: Runs, *, step: int, valid: npt.NDArray[np.bool_], depth: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Pairs of runs of one class that overlap on lines `step` apart."""
    line, start, end, value = runs
    starts, ends = line * (depth + 1) + start, line * (depth + 1) + end
    offset = (line[valid] + step) * (depth + 1)
    low = np.searchsorted(ends, offset + start[valid], side="right")
    high = np.searchsorted(starts, offset + end[valid], side="left")
    count = np.maximum(high - low, 0)
    first = np.repeat(np.nonzero(valid)[0], count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    second = np.repeat(low, count) + within
    same = value[first] == value[second]
    return first[same], second[same]


def _roots(count: int, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The smallest member of each element's set, after uniting all pairs."""
    parent = np.arange(count)
    while True:
        root_a, root_b = parent[first], parent[second]
        apart = root_a != root_b
        if not apart.any():
            return parent
        low, high = np.minimum(root_a, root_b)[apart], np.maximum(root_a, root_b)[apart]
        np.minimum.at(parent, high, low)
        while True:
            jumped = parent[parent]
            if np.array_equal(jumped, parent):
                break
            parent = jumped
