"""Areas inside closed polygons, and pieces and holes of a mask: what the round-trip check of contours needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["fill_even_odd", "near_boundary", "pieces_and_holes"]

Mask = npt.NDArray[np.bool_]


def fill_even_odd(points: npt.NDArray[np.float64], *, into: Mask) -> None:
    """Set the pixels of `into` whose centres (i, j) lie inside a closed polygon by the even-odd rule.

    Args:
        points: (N, 2) in pixels; the last is joined to the first.
        into: Indexed (i, j); what is set stays set.
    """
    low = np.maximum(np.floor(points.min(axis=0)), 0).astype(np.int64)
    high = np.minimum(np.ceil(points.max(axis=0)) + 1, into.shape).astype(np.int64)
    if (high <= low).any():
        return
    width, height = (high - low).tolist()
    x0, y0 = (points - low).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # A row j is crossed where j lies in [lower, upper): a vertex on a row then counts once, and level edges never.
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1)), 0, height).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossing = x0[edge] + (row - y0[edge]) * slope
    begins = np.clip(np.ceil(crossing), 0, width).astype(np.int64)
    toggles = np.zeros((width + 1, height), dtype=np.int32)
    np.add.at(toggles, (begins, row), 1)
    into[low[0] : high[0], low[1] : high[1]] |= np.cumsum(toggles[:width], axis=0) % 2 == 1


def near_boundary(mask: Mask) -> Mask:
    """Pixels that have both values among themselves and their eight neighbours."""
    padded = np.pad(mask, 1, mode="edge")
    low, high = mask.copy(), mask.copy()
    for di in range(3):
        for dj in range(3):
            neighbour = padded[di : di + mask.shape[0], dj : dj + mask.shape[1]]
            low &= neighbour
            high |= neighbour
    return np.asarray(high & ~low)


def pieces_and_holes(mask: Mask) -> tuple[int, int]:
    """How many pieces (joined by sides) a mask has, and how many holes (pieces of its outside, joined by corners too,
    that do not reach the edge)."""
    outside = np.pad(~mask, 1, constant_values=True)
    return _pieces(mask, reach=0), _pieces(outside, reach=1) - 1


def _pieces(mask: Mask, *, reach: int) -> int:
    """Pieces of runs along j that touch in neighbouring lines; `reach` of 1 joins corners."""
    parent: list[int] = []

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    above: list[tuple[int, int, int]] = []
    for line in mask:
        edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0)).tolist()
        here = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            number = len(parent)
            parent.append(number)
            here.append((start, stop, number))
            for other_start, other_stop, other in above:
                if other_start < stop + reach and start < other_stop + reach:
                    parent[root(number)] = root(other)
        above = here
    return sum(parent[index] == index for index in range(len(parent)))
