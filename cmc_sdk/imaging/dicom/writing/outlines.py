"""Outlines of a mask as closed polygons, holes joined to what surrounds them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["outlines"]

Polygon = npt.NDArray[np.float64]


def outlines(mask: npt.NDArray[np.bool_]) -> list[Polygon]:
    """One polygon for each piece of a mask that is not empty.

    They run halfway between the centres of pixels inside and outside, have no points on straight runs, and do not
    repeat their first point. A hole is reached and left through one channel of no width.

    Args:
        mask: Indexed (column, row).

    Returns:
        Each (N, 2), column and row in pixels; the centre of the first pixel is (0, 0).
    """
    from contourpy import FillType, contour_generator

    columns, rows = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    part = np.pad(mask[left : columns[-1] + 1, top : rows[-1] + 1], 1).T.astype(np.float64)
    generator = contour_generator(z=part, name="serial", fill_type=FillType.OuterOffset)
    corner = np.array([left - 1.0, top - 1.0])
    polygons = []
    for points, offsets in zip(*generator.filled(0.5, 2.0), strict=True):
        rings = [_corners(np.asarray(points[first:last], dtype=np.float64)[:-1]) for first, last in pairwise(offsets)]
        polygons.append(_join(rings[0], rings[1:]) + corner)
    return polygons


def _corners(ring: Polygon) -> Polygon:
    """Without the points on straight runs; coordinates are multiples of a half, so that the test is exact."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return np.asarray(ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]])


def _join(outer: Polygon, holes: list[Polygon]) -> Polygon:
    """One polygon that goes round the holes too.

    From the first point of a hole's first row, which lies between two rows of pixels, a channel runs along that row to
    what lies next on its left: the outer ring, or a hole that begins no later and so has been joined already.
    """
    joined = outer
    starts = [int(np.lexsort((hole[:, 0], hole[:, 1]))[0]) for hole in holes]
    for hole, start in sorted(zip(holes, starts, strict=True), key=lambda pair: tuple(pair[0][pair[1]][::-1])):
        x, y = hole[start]
        after, meeting = _next_on_the_left(joined, x=float(x), y=float(y))
        there = np.array([[meeting, y]])
        around = np.roll(hole, -start, axis=0)
        joined = np.concatenate([joined[: after + 1], there, around, around[:1], there, joined[after + 1 :]])
    return joined


def _next_on_the_left(ring: Polygon, *, x: float, y: float) -> tuple[int, float]:
    """The edge of `ring` that a ray from (x, y) to the left meets first, by the index of its first point, and where."""
    x0, y0 = ring[:, 0], ring[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    touched = (np.minimum(y0, y1) <= y) & (y <= np.maximum(y0, y1))
    level = y0 == y1
    with np.errstate(divide="ignore", invalid="ignore"):
        meeting = np.where(level, np.where(np.maximum(x0, x1) < x, np.maximum(x0, x1), np.minimum(x0, x1)),
                           x0 + (y - y0) / (y1 - y0) * (x1 - x0))  # fmt: skip
    meeting = np.where(touched & (meeting < x), meeting, -np.inf)
    edge = int(meeting.argmax())
    return edge, float(meeting[edge])
