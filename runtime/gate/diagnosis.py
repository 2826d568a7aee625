"""What a large difference of two label maps looks like: classes that changed places, or a map that was shifted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["name_fault"]

_REPAIRED = 0.5
"""A guess must explain at least this share of the flipped voxels to be named."""

Labels = npt.NDArray[np.uint8]


def name_fault(
    reference: Labels,
    candidate: Labels,
    *,
    classes: Sequence[str],
    affine_mm: npt.NDArray[np.float64],
    spacing_mm: tuple[float, float, float],
) -> str | None:
    """The one simple fault that explains most of the difference, in words; None if none does.

    Tried are every exchange of two classes, and shifts by one voxel of the scan or of the model grid along each axis.

    Args:
        reference: (X, Y, Z), labels 0 … K-1.
        candidate: The same shape.
        classes: Foreground class names.
        affine_mm: (4, 4), voxel index → RAS mm.
        spacing_mm: Of the model grid.
    """
    flips = int(np.count_nonzero(reference != candidate))
    if flips == 0:
        return None
    guesses = [*_exchanges(reference, candidate, classes), *_shifts(reference, candidate, affine_mm, spacing_mm)]
    left, words = min(guesses, default=(flips, ""))
    return words if left <= (1.0 - _REPAIRED) * flips else None


def _exchanges(reference: Labels, candidate: Labels, classes: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Flips left if two classes of the candidate changed places, and what to say of it."""
    names = ("background", *classes)
    count = len(names)
    joint = reference.astype(np.int64).ravel() * count + candidate.ravel()
    matrix = np.bincount(joint, minlength=count * count).reshape(count, count)
    flips = int(matrix.sum() - matrix.trace())
    for a, b in itertools.combinations(range(count), 2):
        gained = int(matrix[a, b] + matrix[b, a] - matrix[a, a] - matrix[b, b])
        yield flips - gained, f"it looks as if {names[a]} and {names[b]} had changed places"


def _shifts(
    reference: Labels, candidate: Labels, affine_mm: npt.NDArray[np.float64], spacing_mm: tuple[float, float, float]
) -> Iterator[tuple[int, str]]:
    """Flips left if the candidate were moved back, counted where both have voxels then; and what to say of it."""
    step_mm = np.linalg.norm(affine_mm[:3, :3], axis=0)
    for axis in range(3):
        # The model grid keeps the scan's axes, so its spacing along one is that of the patient axis nearest to it.
        nearest = int(np.argmax(np.abs(affine_mm[:3, axis])))
        for step in sorted({1, max(1, round(spacing_mm[nearest] / float(step_mm[axis])))}):
            for sign in (1, -1):
                ours, theirs = [slice(None)] * 3, [slice(None)] * 3
                ours[axis] = slice(None, -step) if sign > 0 else slice(step, None)
                theirs[axis] = slice(step, None) if sign > 0 else slice(None, -step)
                if reference.shape[axis] <= step:
                    continue
                part = reference[tuple(ours)] != candidate[tuple(theirs)]
                moved = f"{step * float(step_mm[axis]):.1f} mm ({step} voxel{'s' if step > 1 else ''})"
                yield (
                    int(np.count_nonzero(part)),
                    f"it looks as if the labels lay {moved} too far along {'+' if sign > 0 else '-'}{'xyz'[axis]}",
                )
