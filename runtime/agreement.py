"""How far two label maps of the same scan agree, and whether that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import InputError

__all__ = ["Agreement", "compare_labels"]

CONFIDENCE_STEP = 2
"""Confidences (1/255) that differ by more than this count as shifted: one step is rounding."""


@dataclass(frozen=True)
class Agreement:
    """Counts of one or more comparisons of label maps; add two to pool them.

    Args:
        classes: Foreground class names, in order of label value.
        reference_vox: Voxels of each class in the reference.
        candidate_vox: Voxels of each class in the candidate.
        common_vox: Voxels of each class in both.
        flips_vox: Voxels whose labels differ.
        foreground_vox: Voxels that are foreground in either.
        shifted_vox: Voxels whose confidence differs by more than 2/255, undecided ones too.
        undecided_vox: Voxels whose labels are in no count: the reference itself hangs between two classes there.
        total_vox: All voxels.
    """

    classes: tuple[str, ...]
    reference_vox: tuple[int, ...]
    candidate_vox: tuple[int, ...]
    common_vox: tuple[int, ...]
    flips_vox: int
    foreground_vox: int
    shifted_vox: int
    undecided_vox: int
    total_vox: int

    def __add__(self, other: Agreement) -> Agreement:
        if self.classes != other.classes:
            raise InputError(
                "agreements of different class tables cannot be pooled", mend="compare one bundle at a time"
            )
        return Agreement(
            classes=self.classes,
            reference_vox=_sum(self.reference_vox, other.reference_vox),
            candidate_vox=_sum(self.candidate_vox, other.candidate_vox),
            common_vox=_sum(self.common_vox, other.common_vox),
            flips_vox=self.flips_vox + other.flips_vox,
            foreground_vox=self.foreground_vox + other.foreground_vox,
            shifted_vox=self.shifted_vox + other.shifted_vox,
            undecided_vox=self.undecided_vox + other.undecided_vox,
            total_vox=self.total_vox + other.total_vox,
        )

    @property
    def dice(self) -> dict[str, float | None]:
        """Dice by class; None where neither map has the class."""
        sums = [a + b for a, b in zip(self.reference_vox, self.candidate_vox, strict=True)]
        pairs = zip(self.classes, self.common_vox, sums, strict=True)
        return {name: 2.0 * common / total if total else None for name, common, total in pairs}

    @property
    def flips(self) -> float:
        """Voxels whose labels differ, as a share of the voxels that are foreground in either map; 0 without any."""
        return self.flips_vox / self.foreground_vox if self.foreground_vox else 0.0

    @property
    def shifted(self) -> float:
        """Share of all voxels whose confidence differs by more than 2/255."""
        return self.shifted_vox / self.total_vox if self.total_vox else 0.0

    def faults(self, limits: GateLimits) -> list[str]:
        """What breaks `limits`, one sentence each with the class and the figure; empty if all is kept.

        A single voxel is never a fault: in a class of fewer than 500 voxels it alone would take Dice below 0.999.
        Shifted confidences are held to the limit of flips, so that a map without foreground is compared too.
        """
        found = []
        for index, (name, dice) in enumerate(self.dice.items()):
            wrong = self.reference_vox[index] + self.candidate_vox[index] - 2 * self.common_vox[index]
            if dice is not None and dice < limits.min_dice and wrong > 1:
                found.append(f"class {name}: Dice {dice:.5f} is below {limits.min_dice:g}")
        if self.flips > limits.max_flips and self.flips_vox > 1:
            found.append(
                f"{self.flips_vox} of {self.foreground_vox} foreground voxels flip ({self.flips:.3%}), "
                f"more than {limits.max_flips:.3%}"
            )
        if self.shifted > limits.max_flips:
            found.append(
                f"the confidence of {self.shifted:.3%} of all voxels shifts by more than {CONFIDENCE_STEP}/255, "
                f"more than {limits.max_flips:.3%}"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "dice": self.dice,
            "flips": self.flips,
            "flips_vox": self.flips_vox,
            "foreground_vox": self.foreground_vox,
            "shifted": self.shifted,
            "undecided_vox": self.undecided_vox,
            "total_vox": self.total_vox,
        }


def compare_labels(
    reference: npt.NDArray[Any],
    candidate: npt.NDArray[Any],
    *,
    classes: Sequence[str],
    reference_confidence: npt.NDArray[np.uint8] | None = None,
    candidate_confidence: npt.NDArray[np.uint8] | None = None,
    undecided: npt.NDArray[np.bool_] | None = None,
) -> Agreement:
    """Compare two label maps on one grid, and their confidences if both are given.

    Args:
        reference: (X, Y, Z), integer labels 0 … K-1.
        candidate: The same shape.
        classes: Foreground class names: label 1 is the first.
        reference_confidence: (X, Y, Z) uint8, in 1/255.
        candidate_confidence: (X, Y, Z) uint8, in 1/255.
        undecided: (X, Y, Z), voxels whose labels are not compared; their confidences are.

    Raises:
        InputError: The shapes differ, or a label is outside the classes.
    """
    if reference.shape != candidate.shape:
        raise InputError(
            f"label maps of shapes {reference.shape} and {candidate.shape} cannot be compared",
            mend="give two label maps of the same scan",
        )
    count = len(classes) + 1
    joint = reference.astype(np.int64).ravel() * count + candidate.ravel()
    if undecided is not None:
        joint = joint[~undecided.ravel()]
    if max(int(reference.max()), int(candidate.max())) >= count or min(int(reference.min()), int(candidate.min())) < 0:
        raise InputError(f"a label map holds values outside 0 … {count - 1}", mend="compare labels of one class table")
    matrix = np.bincount(joint, minlength=count * count).reshape(count, count)
    shifted = 0
    if reference_confidence is not None and candidate_confidence is not None:
        difference = np.abs(reference_confidence.astype(np.int16) - candidate_confidence.astype(np.int16))
        shifted = int(np.count_nonzero(difference > CONFIDENCE_STEP))
    return Agreement(
        classes=tuple(classes),
        reference_vox=tuple(matrix.sum(axis=1)[1:].tolist()),
        candidate_vox=tuple(matrix.sum(axis=0)[1:].tolist()),
        common_vox=tuple(matrix.diagonal()[1:].tolist()),
        flips_vox=int(matrix.sum() - matrix.trace()),
        foreground_vox=int(matrix.sum() - matrix[0, 0]),
        shifted_vox=shifted,
        undecided_vox=reference.size - len(joint),
        total_vox=reference.size,
    )


def _sum(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))
