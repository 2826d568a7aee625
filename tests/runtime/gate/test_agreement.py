"""Agreement of label maps: figures by hand, limits at their edge, small classes, and what one voxel may do."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import InputError
from cmc_sdk.runtime.gate.agreement import Agreement, compare_labels

CLASSES = ("liver", "spleen")
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
LIMITS = GateLimits(min_dice=0.99, max_flips=0.01)


def faults_of(found: Agreement, limits: GateLimits) -> list[str]:
    return [*found.class_faults(limits), *found.rates.faults(limits)]


def cube(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(-1, 1, 1)


def compare(reference: np.ndarray, candidate: np.ndarray, **more: np.ndarray) -> Agreement:
    return compare_labels(reference, candidate, classes=CLASSES, affine_mm=AFFINE, **more)


def blocks() -> np.ndarray:
    """A liver of 20³ = 8000 voxels and a spleen of 5³ = 125."""
    labels = np.zeros((40, 24, 24), np.uint8)
    labels[2:22, 2:22, 2:22] = 1
    labels[30:35, 10:15, 10:15] = 2
    return labels


def test_figures_by_hand() -> None:
    found = compare(cube(0, 1, 1, 1, 2, 0), cube(0, 1, 1, 2, 2, 1))
    assert found.dice == {"liver": pytest.approx(2 * 2 / 6), "spleen": pytest.approx(2 * 1 / 3)}
    assert found.lowest_dice == pytest.approx(2 / 3)
    assert (found.rates.flips_vox, found.rates.foreground_vox, found.rates.total_vox) == (2, 5, 6)
    assert found.rates.flips == pytest.approx(0.4)
    assert [item.flips_vox for item in found.classes] == [2, 1]


def test_a_class_that_neither_map_has_is_unknown_not_zero() -> None:
    found = compare(cube(0, 1), cube(0, 1))
    assert found.dice == {"liver": 1.0, "spleen": None}
    assert found.farthest is None
    assert not faults_of(found, GateLimits())


def test_dice_of_a_large_class_names_class_figure_and_place() -> None:
    reference, candidate = blocks(), blocks()
    candidate[2:22, 2:22, 21] = 0  # one layer of 400: Dice .974
    faults = faults_of(compare(reference, candidate), LIMITS)
    assert faults[0].startswith(
        "class liver: Dice 0.97436 is below 0.99; the largest difference is 400 voxels at index"
    )
    assert "400 of 8125 foreground voxels flip (4.923%), more than 1.00%" in faults[1]
    candidate = blocks()
    candidate[2:10, 2:12, 21] = 0  # 80 voxels: Dice .99497, flips .98 %
    assert not faults_of(compare(reference, candidate), LIMITS)


def test_a_small_class_is_held_to_its_count() -> None:
    reference = blocks()
    for count, wrong in ((2, False), (3, True)):  # one per cent of 125 is one; two are always allowed
        candidate = blocks()
        candidate[30, 10, 10 : 10 + count] = 0
        faults = faults_of(compare(reference, candidate), LIMITS)
        assert bool(faults) is wrong, faults
    assert faults == [
        "class spleen: 3 voxels of a class of 125 flip, more than 2; the largest difference is 3 voxels at index "
        "(30, 10, 10), RAS (30.0, 10.0, 20.0) mm, 0.0 mm from the reference's surface"
    ]


def test_a_share_of_a_small_class_counts_from_three_voxels_on() -> None:
    reference = np.zeros((20, 10, 8), np.uint8)
    reference[5:15, 1:9, 0:5] = 1  # 400 voxels: four may flip
    for count, wrong in ((4, False), (5, True)):
        candidate = reference.copy()
        candidate[5, 1, 0:count] = 0
        assert bool(compare(reference, candidate).classes[0].fault(LIMITS)) is wrong


def test_a_small_class_may_not_flip_farther_than_one_voxel_from_its_surface() -> None:
    reference, near, far = blocks(), blocks(), blocks()
    near[35, 15, 15] = 2  # beside a corner, one step along every axis
    far[36, 12, 12] = 2
    assert not faults_of(compare(reference, near), LIMITS)
    (fault,) = faults_of(compare(reference, far), LIMITS)
    assert fault == (
        "class spleen: a class of 125 voxels differs farther than one voxel from its surface: 1 voxel at index "
        "(36, 12, 12), RAS (36.0, 12.0, 24.0) mm, 2.0 mm from the reference's surface"
    )


def test_a_voxel_of_a_class_that_the_reference_lacks_is_refused() -> None:
    reference = blocks()
    reference[reference == 2] = 0
    candidate = reference.copy()
    candidate[39, 0, 0] = 2
    (fault,) = faults_of(compare(reference, candidate), LIMITS)
    assert fault.startswith(
        "class spleen: a class of 0 voxels differs farther than one voxel from its surface: 1 voxel"
    )
    assert fault.endswith("which the reference lacks")


def test_a_class_that_vanishes_is_refused() -> None:
    reference, candidate = blocks(), blocks()
    candidate[candidate == 2] = 0
    assert (
        "class spleen: 125 voxels of a class of 125 flip, more than 2"
        in faults_of(compare(reference, candidate), LIMITS)[0]
    )


def test_the_size_of_a_small_class_is_the_references() -> None:
    limits = GateLimits(min_dice=0.5, max_flips=1.0, small_class_vox=125)
    candidate = blocks()
    candidate[30, 10, 10:13] = 0
    assert not faults_of(compare(blocks(), candidate), limits)  # 125 voxels are no fewer than 125: Dice
    assert faults_of(compare(blocks(), candidate), limits.model_copy(update={"small_class_vox": 126}))


def test_two_voxels_of_the_whole_map_are_always_allowed() -> None:
    reference = np.zeros((30, 12, 12), np.uint8)
    reference[:12, :12, :11] = 1  # 1584 voxels: .0001 of them are none
    for count, wrong in ((2, False), (3, True)):
        candidate = reference.copy()
        candidate[11, 0, :count] = 0
        faults = faults_of(compare(reference, candidate), GateLimits(min_dice=0.9, max_flips=0.0001))
        assert bool(faults) is wrong, faults
    assert faults == ["3 of 1584 foreground voxels flip (0.189%), more than 0.01%"]


def test_maps_without_foreground_are_compared_by_their_confidence() -> None:
    blank = np.zeros((10, 10, 10), np.uint8)
    sure, unsure = np.full_like(blank, 250), np.full_like(blank, 200)
    rounded = np.full_like(blank, 252)
    agree = compare(blank, blank, reference_confidence=sure, candidate_confidence=rounded)
    differ = compare(blank, blank, reference_confidence=sure, candidate_confidence=unsure)
    assert not faults_of(agree, GateLimits())
    assert "the confidence of 100.000% of all voxels is shifted" in faults_of(differ, GateLimits())[0]


def test_undecided_voxels_are_left_out_of_labels_and_not_of_confidence() -> None:
    reference, candidate = cube(1, 1, 2, 0), cube(2, 1, 2, 0)
    sure, unsure = cube(250, 250, 250, 250), cube(200, 250, 250, 250)
    mask = np.array([True, False, False, False]).reshape(-1, 1, 1)
    found = compare(reference, candidate, undecided=mask, reference_confidence=sure, candidate_confidence=unsure)
    assert found.dice == {"liver": 1.0, "spleen": 1.0}
    assert (found.rates.flips_vox, found.undecided_vox) == (0, 1)
    assert (found.rates.shifted_vox, found.rates.total_vox) == (1, 4)
    elsewhere = compare(reference, candidate, undecided=~mask)
    assert (elsewhere.rates.flips_vox, elsewhere.undecided_vox) == (1, 3)


def test_the_figures_as_json() -> None:
    candidate = blocks()
    candidate[36, 12, 12] = 2
    document = compare(blocks(), candidate).to_dict()
    assert document["farthest_mm"] == 2.0
    assert document["classes"]["spleen"]["largest"]["index"] == (36, 12, 12)
    assert document["classes"]["spleen"]["beyond_one_voxel"] == 1
    assert document["classes"]["liver"] == {
        "dice": 1.0, "reference_vox": 8000, "candidate_vox": 8000, "flips_vox": 0,
    }  # fmt: skip


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="shapes"):
        compare(cube(0, 1), cube(0, 1, 1))
    with pytest.raises(InputError, match="outside 0 … 2"):
        compare(cube(0, 1), cube(0, 3))
