"""Counting the connected pieces of a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["count_components"]


def count_components(mask: npt.NDArray[np.bool_]) -> int:
    """Number of 6-connected pieces of a mask (X, Y, Z).

    Works on runs along the last axis: overlapping runs of neighbouring rows are joined by hooking each root to its
    smallest neighbour until nothing moves.
    """
    if not mask.any():
        return 0
    box = tuple(slice(int(where.min()), int(where.max()) + 1) for where in np.nonzero(mask))
    part = np.ascontiguousarray(mask[box])
    x, y, z = part.shape
    padded = np.zeros((x, y, z + 2), np.int8)
    padded[:, :, 1:-1] = part
    change = np.diff(padded, axis=2).reshape(x * y, z + 1)
    row, first = np.nonzero(change == 1)
    end = np.nonzero(change == -1)[1]
    edges = [_overlaps(row, first, end, step=1, allowed=row % y != y - 1), _overlaps(row, first, end, step=y)]
    return _roots(len(row), np.concatenate(edges, axis=1))


def _overlaps(
    row: npt.NDArray[Any],
    first: npt.NDArray[Any],
    end: npt.NDArray[Any],
    *,
    step: int,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """(2, E): pairs of runs in rows `step` apart that share a column; runs come sorted by row and column."""
    width = int(end.max()) + 1
    key_first, key_end = row * width + first, row * width + end
    target = row + step
    # In the other row: runs that end after mine begins, up to those that begin before mine ends.
    low = np.searchsorted(key_end, target * width + first, side="right")
    high = np.searchsorted(key_first, target * width + end, side="left")
    count = np.maximum(high - low, 0)
    if allowed is not None:
        count = np.where(allowed, count, 0)
    mine = np.repeat(np.arange(len(row)), count)
    offset = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count)
    return np.stack((mine, np.repeat(low, count) + offset))


def _roots(count: int, edges: npt.NDArray[np.int64]) -> int:
    parent = np.arange(count)
    while True:
        a, b = parent[edges[0]], parent[edges[1]]
        apart = a != b
        if not apart.any():
            return int((parent == np.arange(count)).sum())
        np.minimum.at(parent, np.maximum(a, b)[apart], np.minimum(a, b)[apart])
        while True:
            jumped = parent[parent]
            if np.array_equal(jumped, parent):
                break
            parent = jumped
