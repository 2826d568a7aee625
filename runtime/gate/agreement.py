"""How far two label maps of the same scan agree, where they do not, and whether that is enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import InputError
from cmc_sdk.runtime.gate.regions import ClassFlips, FlippedRegion, locate_flips

__all__ = ["ALWAYS_ALLOWED_VOX", "CONFIDENCE_STEPS", "Agreement", "ClassAgreement", "Rates", "compare_labels"]

CONFIDENCE_STEPS: Mapping[str, int] = MappingProxyType({"f32": 2, "fp16": 5, "bf16": 25, "int8": 50})
"""Confidences (1/255) that differ by more than this count as shifted, by precision.

What a shift is belongs to the gate; how many voxels may shift is a bundle's limit, the same as of flips.
In f32 one step is rounding. In the others a good network's confidence moves without harm: on prostate MR 2 % of the
voxels moved by more than 5 steps in bf16 and none by more than 25; in fp16 none by more than 2.
"""

ALWAYS_ALLOWED_VOX = 2
"""Flipped voxels that a share never forbids: 0.01 % of a small organ is less than one voxel.

It is the gate's own and no bundle's: a manifest states shares, and cannot take these voxels away.
"""


@dataclass(frozen=True)
class ClassAgreement:
    """One class in both maps.

    Args:
        name: Of the class.
        reference_vox: Its voxels in the reference.
        candidate_vox: Its voxels in the candidate.
        common_vox: Voxels that both give to it.
        flips: Where the maps differ about it; None where they do not.
    """

    name: str
    reference_vox: int
    candidate_vox: int
    common_vox: int
    flips: ClassFlips | None

    @property
    def flips_vox(self) -> int:
        """Voxels that exactly one of the maps gives to the class."""
        return self.reference_vox + self.candidate_vox - 2 * self.common_vox

    @property
    def dice(self) -> float | None:
        """2 |A ∩ B| / (|A| + |B|); None where neither map has the class."""
        total = self.reference_vox + self.candidate_vox
        return 2.0 * self.common_vox / total if total else None

    def fault(self, limits: GateLimits) -> str | None:
        """What breaks `limits`, with the figure and the place; None if all is kept."""
        if self.flips is None:
            return None
        if self.reference_vox >= limits.small_class_vox:
            if self.dice is None or self.dice >= limits.min_dice:
                return None
            why = f"Dice {self.dice:.5f} is below {limits.min_dice:g}"
            return f"class {self.name}: {why}; the largest difference is {self.flips.largest.describe()}"
        allowed = max(ALWAYS_ALLOWED_VOX, math.floor(limits.small_class_flips * self.reference_vox))
        if self.flips_vox > allowed:
            why = f"{self.flips_vox} voxels of a class of {self.reference_vox} flip, more than {allowed}"
            return f"class {self.name}: {why}; the largest difference is {self.flips.largest.describe()}"
        if self.flips.beyond_vox:
            why = f"a class of {self.reference_vox} voxels differs farther than one voxel from its surface"
            return f"class {self.name}: {why}: {self.flips.farthest.describe()}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        found: dict[str, Any] = {
            "dice": self.dice,
            "reference_vox": self.reference_vox,
            "candidate_vox": self.candidate_vox,
            "flips_vox": self.flips_vox,
        }
        if self.flips is not None:
            found["beyond_one_voxel"] = self.flips.beyond_vox
            found["largest"] = self.flips.largest.to_dict()
            found["farthest"] = self.flips.farthest.to_dict()
        return found


@dataclass(frozen=True)
class Rates:
    """Counts of voxels of one or more label maps; add two to pool them.

    Args:
        flips_vox: Voxels whose labels differ.
        foreground_vox: Voxels that are foreground in either map.
        shifted_vox: Voxels whose confidence is shifted.
        total_vox: All voxels.
    """

    flips_vox: int
    foreground_vox: int
    shifted_vox: int
    total_vox: int

    def __add__(self, other: Rates) -> Rates:
        return Rates(
            self.flips_vox + other.flips_vox,
            self.foreground_vox + other.foreground_vox,
            self.shifted_vox + other.shifted_vox,
            self.total_vox + other.total_vox,
        )

    @property
    def flips(self) -> float:
        """Voxels whose labels differ, as a share of the voxels that are foreground in either map; 0 without any."""
        return self.flips_vox / self.foreground_vox if self.foreground_vox else 0.0

    @property
    def shifted(self) -> float:
        """Share of all voxels whose confidence is shifted."""
        return self.shifted_vox / self.total_vox if self.total_vox else 0.0

    def faults(self, limits: GateLimits) -> list[str]:
        """What breaks `limits`, one sentence each.

        Two voxels are always allowed. Shifted confidences are held to the limit of flips, so that a map without
        foreground is compared too.
        """
        found = []
        if self.flips_vox > max(ALWAYS_ALLOWED_VOX, limits.max_flips * self.foreground_vox):
            found.append(
                f"{self.flips_vox} of {self.foreground_vox} foreground voxels flip ({self.flips:.3%}), "
                f"more than {limits.max_flips:.2%}"
            )
        if self.shifted > limits.max_flips:
            found.append(
                f"the confidence of {self.shifted:.3%} of all voxels is shifted, more than {limits.max_flips:.2%}"
            )
        return found


@dataclass(frozen=True)
class Agreement:
    """Two label maps of one scan.

    Args:
        classes: Foreground classes, in order of label value.
        rates: Over the whole map; of shifted confidences undecided voxels are counted too.
        undecided_vox: Voxels whose labels are in no count: the reference itself hangs between two classes there.
    """

    classes: tuple[ClassAgreement, ...]
    rates: Rates
    undecided_vox: int

    @property
    def dice(self) -> dict[str, float | None]:
        """Dice by class; None where neither map has the class."""
        return {item.name: item.dice for item in self.classes}

    @property
    def lowest_dice(self) -> float | None:
        """The lowest of all classes that either map has."""
        return min((item.dice for item in self.classes if item.dice is not None), default=None)

    @property
    def farthest(self) -> FlippedRegion | None:
        """The flipped region that reaches farthest from its class's surface in the reference; None without flips."""
        regions = [item.flips.farthest for item in self.classes if item.flips is not None]
        return max(regions, key=lambda region: region.distance_mm, default=None)

    def class_faults(self, limits: GateLimits) -> list[str]:
        """What breaks `limits` in a class, one sentence each with the class, the figure and the place."""
        return [fault for item in self.classes if (fault := item.fault(limits)) is not None]

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        farthest = self.farthest
        return {
            "dice": self.dice,
            "flips": self.rates.flips,
            "flips_vox": self.rates.flips_vox,
            "foreground_vox": self.rates.foreground_vox,
            "farthest_mm": None if farthest is None else farthest.to_dict()["distance_mm"],
            "shifted": self.rates.shifted,
            "undecided_vox": self.undecided_vox,
            "total_vox": self.rates.total_vox,
            "classes": {item.name: item.to_dict() for item in self.classes},
        }


def compare_labels(
    reference: npt.NDArray[Any],
    candidate: npt.NDArray[Any],
    *,
    classes: Sequence[str],
    affine_mm: npt.NDArray[np.float64],
    reference_confidence: npt.NDArray[np.uint8] | None = None,
    candidate_confidence: npt.NDArray[np.uint8] | None = None,
    undecided: npt.NDArray[np.bool_] | None = None,
    confidence_step: int = CONFIDENCE_STEPS["f32"],
) -> Agreement:
    """Compare two label maps on one grid, and their confidences if both are given.

    Args:
        reference: (X, Y, Z), integer labels 0 … K-1.
        candidate: The same shape.
        classes: Foreground class names: label 1 is the first.
        affine_mm: (4, 4), voxel index → RAS mm.
        reference_confidence: (X, Y, Z) uint8, in 1/255.
        candidate_confidence: (X, Y, Z) uint8, in 1/255.
        undecided: (X, Y, Z), voxels whose labels are not compared; their confidences are.
        confidence_step: In 1/255; confidences that differ by more are shifted.

    Raises:
        InputError: The shapes differ, or a label is outside the classes.
    """
    if reference.shape != candidate.shape:
        raise InputError(
            f"label maps of shapes {reference.shape} and {candidate.shape} cannot be compared",
            mend="give two label maps of the same scan",
        )
    count = len(classes) + 1
    if max(int(reference.max()), int(candidate.max())) >= count or min(int(reference.min()), int(candidate.min())) < 0:
        raise InputError(f"a label map holds values outside 0 … {count - 1}", mend="compare labels of one class table")
    counted = slice(None) if undecided is None else ~undecided.ravel()
    joint = reference.astype(np.int64).ravel()[counted] * count + candidate.ravel()[counted]
    matrix = np.bincount(joint, minlength=count * count).reshape(count, count)
    flipped = reference != candidate
    if undecided is not None:
        flipped &= ~undecided
    shifted = 0
    if reference_confidence is not None and candidate_confidence is not None:
        difference = np.abs(reference_confidence.astype(np.int16) - candidate_confidence.astype(np.int16))
        shifted = int(np.count_nonzero(difference > confidence_step))
    points = np.argwhere(flipped)
    before, after = reference[flipped], candidate[flipped]
    truth = np.asarray(reference, np.uint8)
    return Agreement(
        classes=tuple(
            ClassAgreement(
                name=name,
                reference_vox=int(matrix[label].sum()),
                candidate_vox=int(matrix[:, label].sum()),
                common_vox=int(matrix[label, label]),
                flips=locate_flips(
                    truth,
                    label,
                    points=points[(before == label) | (after == label)],
                    affine_mm=affine_mm,
                ),
            )
            for label, name in enumerate(classes, start=1)
        ),
        rates=Rates(
            flips_vox=int(matrix.sum() - matrix.trace()),
            foreground_vox=int(matrix.sum() - matrix[0, 0]),
            shifted_vox=shifted,
            total_vox=reference.size,
        ),
        undecided_vox=reference.size - len(joint),
    )
