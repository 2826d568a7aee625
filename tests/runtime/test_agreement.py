"""Agreement of label maps: figures by hand, pooling, limits, and what one voxel may do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import InputError
from cmc_sdk.runtime.agreement import compare_labels

CLASSES = ("liver", "spleen")


def cube(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(-1, 1, 1)


def test_figures_by_hand() -> None:
    found = compare_labels(cube(0, 1, 1, 1, 2, 0), cube(0, 1, 1, 2, 2, 1), classes=CLASSES)
    assert found.dice == {"liver": pytest.approx(2 * 2 / 6), "spleen": pytest.approx(2 * 1 / 3)}
    assert (found.flips_vox, found.foreground_vox, found.total_vox) == (2, 5, 6)
    assert found.flips == pytest.approx(0.4)


def test_a_class_that_neither_map_has_is_unknown_not_zero() -> None:
    found = compare_labels(cube(0, 1), cube(0, 1), classes=CLASSES)
    assert found.dice == {"liver": 1.0, "spleen": None}
    assert not found.faults(GateLimits())


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999))
def test_pooling_equals_one_comparison_of_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 3, (2, 4, 3, 8))
    whole = compare_labels(a, b, classes=CLASSES)
    halves = [compare_labels(a[..., part], b[..., part], classes=CLASSES) for part in (slice(0, 5), slice(5, 8))]
    assert halves[0] + halves[1] == whole


def test_faults_name_class_and_figure_and_one_voxel_is_none() -> None:
    reference = np.ones((10, 10, 10), np.uint8)
    one, two = reference.copy(), reference.copy()
    one[0, 0, 0] = 2
    two[0, 0, :2] = 2
    small = np.ones((5, 4, 1), np.uint8)
    flipped = small.copy()
    flipped[0, 0, 0] = 0
    assert not compare_labels(reference, one, classes=CLASSES).faults(GateLimits())
    assert not compare_labels(small, flipped, classes=CLASSES).faults(GateLimits())  # Dice .974, one voxel
    found = compare_labels(reference, two, classes=CLASSES).faults(GateLimits())
    assert any("class spleen: Dice 0.00000 is below 0.999" in fault for fault in found)
    assert any("2 of 1000 foreground voxels flip (0.200%)" in fault for fault in found)


def test_maps_without_foreground_are_compared_by_their_confidence() -> None:
    blank = np.zeros((10, 10, 10), np.uint8)
    sure, unsure = np.full_like(blank, 250), np.full_like(blank, 200)
    rounded = np.full_like(blank, 252)
    agree = compare_labels(blank, blank, classes=CLASSES, reference_confidence=sure, candidate_confidence=rounded)
    differ = compare_labels(blank, blank, classes=CLASSES, reference_confidence=sure, candidate_confidence=unsure)
    assert not agree.faults(GateLimits())
    assert "the confidence of 100.000% of all voxels shifts" in differ.faults(GateLimits())[0]


def test_undecided_voxels_are_left_out_of_labels_and_not_of_confidence() -> None:
    reference, candidate = cube(1, 1, 2, 0), cube(2, 1, 2, 0)
    sure, unsure = cube(250, 250, 250, 250), cube(200, 250, 250, 250)
    mask = np.array([True, False, False, False]).reshape(-1, 1, 1)
    found = compare_labels(
        reference, candidate, classes=CLASSES, undecided=mask, reference_confidence=sure, candidate_confidence=unsure
    )
    assert found.dice == {"liver": 1.0, "spleen": 1.0}
    assert (found.flips_vox, found.undecided_vox, found.shifted_vox, found.total_vox) == (0, 1, 1, 4)
    elsewhere = compare_labels(reference, candidate, classes=CLASSES, undecided=~mask)
    assert (elsewhere.flips_vox, elsewhere.undecided_vox) == (1, 3)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="shapes"):
        compare_labels(cube(0, 1), cube(0, 1, 1), classes=CLASSES)
    with pytest.raises(InputError, match="outside 0 … 2"):
        compare_labels(cube(0, 1), cube(0, 3), classes=CLASSES)
    with pytest.raises(InputError, match="different class tables"):
        compare_labels(cube(1), cube(1), classes=CLASSES) + compare_labels(cube(1), cube(1), classes=("a", "b"))
