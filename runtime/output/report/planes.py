"""Three planes through a label, turned as radiologists look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.orientation import reorient
from cmc_sdk.imaging.volume import Volume

__all__ = ["Picture", "Plane", "Planes", "confidence_overlay", "cut_planes", "label_overlay"]

# Name, axis that is cut (RAS order), and what lies left, right, above and below in the picture.
_VIEWS = (("axial", 2, "RLAP"), ("coronal", 1, "RLSI"), ("sagittal", 0, "APSI"))
CERTAIN = 0.98
"""Confidence from which a voxel is left without a mark."""

OVERLAY_PIXELS = 360
"""Edge of an overlay, about as large as it is shown."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Plane:
    """One cut, rows from top to bottom and columns from left to right as displayed.

    Args:
        name: axial, coronal or sagittal (of the volume's own axes, which are nearest to these).
        grey: (H, W) uint8.
        labels: (H, W) uint8.
        confidence: (H, W) uint8, 1/255.
        width_mm, height_mm: Extent of the picture.
        sides: What lies left, right, above and below: letters of R, L, A, P, S, I.
        slice_number, slices: Which cut of how many, from 1.
        cross: Where the other two planes cut this one: share of the width and of the height, [0, 1].
    """

    name: str
    grey: Picture
    labels: Picture
    confidence: Picture
    width_mm: float
    height_mm: float
    sides: str
    slice_number: int
    slices: int
    cross: tuple[float, float]


@dataclass(frozen=True)
class Planes:
    """Three cuts through one point.

    Args:
        planes: Axial, coronal, sagittal.
        point_mm: RAS position where they meet.
        window: Raw values shown as black and white.
        empty: No voxel is labelled; the planes meet in the middle of the volume.
    """

    planes: tuple[Plane, Plane, Plane]
    point_mm: tuple[float, float, float]
    window: tuple[float, float]
    empty: bool


def cut_planes(
    image: Volume,
    *,
    labels: Volume,
    confidence: Volume,
    clip: tuple[float, float] | None = None,
    through: Volume | None = None,
) -> Planes:
    """Cut an image and its label through a label's centre of mass.

    Args:
        image: The scan.
        labels: uint8 on the same grid.
        confidence: uint8, 1/255, on the same grid.
        clip: Raw values to show as black and white; None: the 1st and 99.5th percentile of what is in the planes.
        through: Whose centre of mass; None for that of `labels`.
    """
    shown = reorient(image)
    marked, sure = reorient(labels).stored, reorient(confidence).stored
    centre, empty = _centre(marked if through is None else reorient(through).stored)
    size, spacing = shown.size_vox, shown.spacing_mm
    grey = [shown.true_values(np.asarray(np.take(shown.stored, centre[axis], axis=axis))) for _, axis, _ in _VIEWS]
    window = clip or _window(grey)
    planes = []
    for (name, axis, sides), raw in zip(_VIEWS, grey, strict=True):
        across, up = (other for other in range(3) if other != axis)  # columns and rows of the picture, in RAS order
        planes.append(
            Plane(
                name=name,
                grey=_display(_stretch(raw, window)),
                labels=_display(np.take(marked, centre[axis], axis=axis).astype(np.uint8)),
                confidence=_display(np.take(sure, centre[axis], axis=axis).astype(np.uint8)),
                width_mm=size[across] * spacing[across],
                height_mm=size[up] * spacing[up],
                sides=sides,
                slice_number=centre[axis] + 1,
                slices=size[axis],
                cross=(1 - (centre[across] + 0.5) / size[across], 1 - (centre[up] + 0.5) / size[up]),
            )
        )
    x, y, z = (shown.affine_mm @ np.array([*centre, 1.0]))[:3].tolist()
    axial, coronal, sagittal = planes
    return Planes((axial, coronal, sagittal), (x, y, z), window, empty)


def label_overlay(labels: Picture, *, classes: ClassTable) -> Picture:
    """RGBA picture of a label plane: a veil of the class's colour, its outline solid.

    A small plane is enlarged by a whole factor, so that outlines stay thin and voxels stay what they are.
    """
    colors = np.zeros((256, 3), np.uint8)
    for item in classes.classes:
        colors[item.index] = item.color
    factor = max(1, round(OVERLAY_PIXELS / max(labels.shape)))
    large = labels.repeat(factor, axis=0).repeat(factor, axis=1)
    overlay = np.zeros((*large.shape, 4), np.uint8)
    overlay[..., :3] = colors[large]
    overlay[..., 3] = np.where(large == 0, 0, np.where(_outline(large), 255, 80))
    return overlay


def confidence_overlay(confidence: Picture) -> Picture:
    """RGBA picture that marks what the network was unsure of: nothing above `CERTAIN`, yellow to red towards 0.5."""
    doubt = np.clip((CERTAIN - confidence / 255.0) / (CERTAIN - 0.5), 0.0, 1.0)
    overlay = np.zeros((*confidence.shape, 4), np.uint8)
    overlay[..., 0] = 255
    overlay[..., 1] = np.round(225 - 185 * doubt)
    overlay[..., 2] = 40
    overlay[..., 3] = np.where(doubt > 0, np.round(70 + 160 * doubt), 0)
    return overlay


def _centre(labels: npt.NDArray[Any]) -> tuple[tuple[int, int, int], bool]:
    marked = labels > 0
    totals = [marked.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    empty = not totals[0].any()
    if empty:
        x, y, z = (size // 2 for size in labels.shape)
    else:
        x, y, z = (round(float(np.average(np.arange(total.size), weights=total))) for total in totals)
    return (x, y, z), empty


def _window(planes: list[npt.NDArray[np.float32]]) -> tuple[float, float]:
    values = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    if values.size == 0:
        return (0.0, 1.0)
    inside = values[values > values.min()]
    low, high = np.percentile(inside if inside.size else values, (1.0, 99.5))
    return (float(low), float(high) if high > low else float(low) + 1.0)


def _stretch(values: npt.NDArray[np.float32], window: tuple[float, float]) -> Picture:
    low, high = window
    share = np.nan_to_num((values - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    grey: Picture = np.round(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
    return grey


def _display(plane: Picture) -> Picture:
    """(across, up) in RAS order → (rows, columns): right or anterior on the left, anterior or superior on top."""
    return np.ascontiguousarray(plane.T[::-1, ::-1])


def _outline(labels: Picture) -> npt.NDArray[np.bool_]:
    padded = np.pad(labels, 1, mode="edge")
    middle = padded[1:-1, 1:-1]
    differs = np.zeros(labels.shape, bool)
    for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        differs |= neighbour != middle
    return differs
