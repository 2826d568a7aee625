"""From planes to a grid: sorted along the slice normal, spaced by their positions, and what is irregular about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.frames import Frame
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["SAME_PLACE_MM", "Blend", "Irregular", "Stack", "check_plane", "orientation_word", "place_along", "stack"]

Irregular = Literal["missing slices", "variable spacing"]
Vector = npt.NDArray[np.float64]

# Positions nearer than this are one position: headers round to hundredths at best.
SAME_PLACE_MM = 0.01
_NORM, _RIGHT_ANGLE = 5e-3, 2e-3
# Slices may lie this share of a spacing off an even grid (positions are often rounded) before they count as irregular.
_EVEN = 0.05
_MEND = "convert it again from its source; the geometry is not guessed"


@dataclass(frozen=True)
class Blend:
    """A slice of the grid: (1 - weight) of frame `lower` + weight of frame `upper`, indices into `Stack.frames`."""

    lower: int
    upper: int
    weight: float

    @property
    def source(self) -> int | None:
        """The frame that lies there; None where the slice is interpolated."""
        return self.lower if self.weight == 0.0 else None


@dataclass(frozen=True)
class Stack:
    """Planes in order, and the grid that they make.

    Args:
        frames: Along the slice axis.
        affine_mm: (4, 4), (column, row, slice) → RAS.
        slices: Of the grid.
        plan: What each slice of the grid is made of.
        irregular: Why the grid is not just the frames; None where it is.
        gaps: Slices of the grid where the scanner left one out.
        notes: What the user should know.
    """

    frames: tuple[Frame, ...]
    affine_mm: Vector
    slices: int
    plan: tuple[Blend, ...]
    irregular: Irregular | None
    gaps: frozenset[int]
    notes: tuple[str, ...]


def check_plane(frame: Frame) -> None:
    """Refuse a plane whose header does not say where it lies.

    Raises:
        DicomError: No position, orientation or pixel spacing, or one that cannot be right.
    """
    path = frame.instance.path
    for value, words in (
        (frame.position, "position"),
        (frame.orientation, "orientation"),
        (frame.pixel_spacing, "pixel spacing"),
    ):
        if value is None:
            raise DicomError(
                "no geometry",
                f"{path} does not give the {words} of its plane",
                mend=f"give the scan itself, or {_MEND}",
            )
    position, directions, spacing = frame.position or (), frame.orientation or (), frame.pixel_spacing or ()
    if not all(map(math.isfinite, (*position, *directions))):
        raise DicomError("directions", f"{path}: its position or orientation is NaN or infinite", mend=_MEND)
    if max(map(abs, position)) > 1e5:
        raise DicomError("directions", f"{path}: its position is {max(map(abs, position)):.3g} mm away", mend=_MEND)
    row, column = directions[:3], directions[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    cosine = sum(first * second for first, second in zip(row, column, strict=True))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1)) > _NORM or abs(cosine) > _RIGHT_ANGLE:
        raise DicomError(
            "directions",
            f"{path}: its row and column directions are no unit vectors at a right angle "
            f"(lengths {lengths[0]:.4f} and {lengths[1]:.4f}, cosine {cosine:.4f})",
            mend=_MEND,
        )
    if not all(1e-4 < value < 1e3 for value in spacing):  # NaN is not, either
        raise DicomError("pixel spacing", f"{path}: its pixel spacing is {list(spacing)} mm", mend=_MEND)


def orientation_word(normal: Vector) -> str:
    """axial, coronal or sagittal by the nearest axis; oblique where none is within 40°."""
    nearest = int(np.abs(normal).argmax())
    return ("sagittal", "coronal", "axial")[nearest] if abs(normal[nearest]) > math.cos(math.radians(40)) else "oblique"


def place_along(frame: Frame) -> float:
    """Where a plane lies along its own normal, in mm; plain arithmetic, since it is done for every file."""
    a, b, c, d, e, f = frame.orientation or (0.0,) * 6
    x, y, z = frame.position or (0.0,) * 3
    return x * (b * f - c * e) + y * (c * d - a * f) + z * (a * e - b * d)


def stack(frames: Sequence[Frame], *, limits: DicomLimits) -> Stack:
    """Put planes of one orientation, none of them twice, in order.

    Raises:
        DicomError: Too few, planes that are no stack, or more missing than present.
    """
    if len(frames) < limits.min_slices:
        raise DicomError(
            "too few slices",
            f"{len(frames)} slice(s); a volume needs {limits.min_slices}",
            mend="give the whole series; a localizer cannot be labelled",
        )
    _, (row, column), spacing = _numbers(frames[0])
    normal = _normal(row, column)
    positions = np.array([_numbers(frame)[0] for frame in frames])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    ordered, positions, along = tuple(frames[index] for index in order), positions[order], along[order]
    steps = np.diff(along)
    if steps.min() < SAME_PLACE_MM:
        raise DicomError(
            "not one stack",
            "two slices lie side by side in one plane, so they are no stack of slices",
            mend="export each block of slices as a series of its own",
        )
    notes: list[str] = []
    slant = (positions[-1] - positions[0]) / (along[-1] - along[0])
    _check_line(positions, along, slant, tolerance=max(SAME_PLACE_MM, 0.1 * float(spacing.min())))
    irregular, plan, gaps, notes_of_grid = _grid(along)
    tilt = math.degrees(math.acos(min(1.0, 1.0 / float(np.linalg.norm(slant)))))
    if tilt > 60.0:
        raise DicomError(
            "not one stack", f"its slices are shifted against each other by {tilt:.0f}°", mend="give the series itself"
        )
    if tilt > 0.1:
        notes.append(f"the stack is sheared by {tilt:.1f}° (gantry tilt); the grid keeps the shear")
    notes += notes_of_grid
    step = slant * (along[-1] - along[0]) / (len(plan) - 1)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2], lps[:3, 3] = row * spacing[1], column * spacing[0], step, positions[0]
    affine = np.diag((-1.0, -1.0, 1.0, 1.0)) @ lps + 0.0  # + 0: no minus zero
    return Stack(ordered, affine, len(plan), plan, irregular, gaps, tuple(notes))


def _grid(along: Vector) -> tuple[Irregular | None, tuple[Blend, ...], frozenset[int], list[str]]:
    """The even grid from the first to the last place, and what each of its slices is made of."""
    count = len(along)
    steps = np.diff(along)
    mean = (along[-1] - along[0]) / (count - 1)
    off = float(np.abs(along - (along[0] + mean * np.arange(count))).max())
    if off <= max(0.5 * SAME_PLACE_MM, _EVEN * mean):
        notes = [f"its slices lie up to {off:.2g} mm off an even spacing of {mean:.4g} mm"] if off > 0.01 * mean else []
        return None, tuple(Blend(index, index, 0.0) for index in range(count)), frozenset(), notes
    smallest = float(steps.min())
    multiples = np.maximum(1, np.rint(steps / smallest)).astype(int)
    places = np.concatenate(([0], np.cumsum(multiples)))
    base = (along[-1] - along[0]) / places[-1]
    if np.abs(along - (along[0] + base * places)).max() <= max(0.5 * SAME_PLACE_MM, _EVEN * base):
        missing = sorted(set(range(int(places[-1]))) - set(places.tolist()))
        if len(missing) > count:
            raise DicomError(
                "not one stack",
                f"{len(missing)} slices are missing between {count} that are there",
                mend="export each block of slices as a series of its own",
            )
        exact = dict(zip(places.tolist(), range(count), strict=True))
        plan = _blends(places.astype(np.float64), np.arange(places[-1] + 1.0), exact=exact)
        where = ", ".join(str(index + 1) for index in missing[:8]) + (", …" if len(missing) > 8 else "")
        note = f"{len(missing)} of {len(plan)} slices are missing (from below: {where})"
        return "missing slices", plan, frozenset(missing), [note]
    slices = round((along[-1] - along[0]) / float(np.median(steps))) + 1
    if slices > 4 * count or slices < 2:
        raise DicomError(
            "not one stack",
            f"its slices lie between {smallest:.3g} and {steps.max():.3g} mm apart",
            mend="export each block of slices as a series of its own",
        )
    targets = np.linspace(along[0], along[-1], slices)
    spacing = float(targets[1] - targets[0])
    exact = {}
    for index, target in enumerate(targets):
        nearest = int(np.abs(along - target).argmin())
        if abs(along[nearest] - target) <= max(0.5 * SAME_PLACE_MM, 1e-3 * spacing):
            exact[index] = nearest
    plan = _blends(along, targets, exact=exact)
    wide = {
        index
        for index, blend in enumerate(plan)
        if blend.source is None and along[blend.upper] - along[blend.lower] > 1.5 * spacing
    }
    note = f"its slices lie between {smallest:.4g} and {float(steps.max()):.4g} mm apart"
    return "variable spacing", plan, frozenset(wide), [note]


def _blends(along: Vector, targets: Vector, *, exact: dict[int, int]) -> tuple[Blend, ...]:
    plan = []
    for index, target in enumerate(targets):
        if index in exact:
            plan.append(Blend(exact[index], exact[index], 0.0))
            continue
        upper = min(max(int(np.searchsorted(along, target)), 1), len(along) - 1)
        lower = upper - 1
        plan.append(Blend(lower, upper, float((target - along[lower]) / (along[upper] - along[lower]))))
    return tuple(plan)


def _check_line(positions: Vector, along: Vector, slant: Vector, *, tolerance: float) -> None:
    apart = float(np.linalg.norm(positions - (positions[0] + np.outer(along - along[0], slant)), axis=1).max())
    if apart > tolerance:
        raise DicomError(
            "not one stack",
            f"its slices do not lie on one line: one is {apart:.3g} mm beside it",
            mend="export each block of slices as a series of its own",
        )


def _numbers(frame: Frame) -> tuple[Vector, tuple[Vector, Vector], Vector]:
    directions = np.array(frame.orientation, dtype=np.float64).reshape(2, 3)
    return (
        np.array(frame.position, dtype=np.float64),
        (directions[0] / np.linalg.norm(directions[0]), directions[1] / np.linalg.norm(directions[1])),
        np.array(frame.pixel_spacing, dtype=np.float64),
    )


def _normal(row: Vector, column: Vector) -> Vector:
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)
