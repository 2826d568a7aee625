"""Orientation and overlap against plain mathematics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cmc_sdk import Volume
from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.geometry import bounding_box_mm, check_overlap, displacement_mm, extent_mm, overlap_mm
from cmc_sdk.imaging.orientation import axis_codes, nearest_ras, nearest_rotation, reorient
from tests.imaging.grids import AXIS_ORDERS, affines, rotation, signed_permutation, sizes
from tests.reference.geometry import box_by_corners, codes_by_walking, voxel_to_world


@settings(max_examples=100, deadline=None)
@given(affine=affines(shear=0.25))
def test_axis_codes_agree_with_trying_every_letter(affine):
    cosines = nearest_rotation(affine)
    scores = sorted(
        sum(abs(cosines[row, column]) for column, row in enumerate(order)) for order in {o for o, _ in AXIS_ORDERS}
    )
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sheared = np.abs(directions - cosines).max()
    # Near a tie, or where shear moves an axis past one, the two ways may rightly differ.
    assume(scores[-1] - scores[-2] > 1e-3 + 4 * sheared)
    assume(np.sort(np.abs(cosines), axis=0)[-1].min() > 0.1 + sheared)
    assert axis_codes(affine) == codes_by_walking(affine)


@pytest.mark.parametrize(("order", "signs"), AXIS_ORDERS)
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_all_48_orders_turn_to_ras(order, signs, angle):
    affine = np.eye(4)
    affine[:3, :3] = rotation((angle, -angle, angle / 2)) @ signed_permutation(order, signs) * (0.7, 1.0, 2.5)
    affine[:3, 3] = (3.0, -4.0, 5.0)
    stored = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turned = reorient(Volume(stored, affine))
    assert axis_codes(turned.affine_mm) == "RAS"
    assert np.shares_memory(turned.stored, stored)
    for index in np.ndindex(turned.size_vox):
        place = voxel_to_world(turned.affine_mm, index)
        source = np.rint(np.linalg.solve(affine[:3, :3], np.array(place) - affine[:3, 3])).astype(int)
        assert turned.stored[index] == stored[tuple(source)]
        assert np.allclose(voxel_to_world(affine, source), place)


@pytest.mark.parametrize("noise", [0.0, 1e-12, -1e-12])
def test_ties_do_not_hang_on_rounding(noise):
    affine = np.eye(4)
    affine[:3, :3] = rotation((0.0, 0.0, np.pi / 4 + noise))
    assert nearest_ras(affine).source_axis == (0, 1, 2)


@settings(max_examples=60, deadline=None)
@given(affine=affines(shear=0.4))
def test_nearest_rotation_is_orthogonal_and_keeps_the_hand(affine):
    turned = nearest_rotation(affine)
    assert np.allclose(turned.T @ turned, np.eye(3), atol=1e-9)
    assert np.sign(np.linalg.det(turned)) == np.sign(np.linalg.det(affine[:3, :3]))


@settings(max_examples=60, deadline=None)
@given(affine=affines(shear=0.3), size=sizes)
def test_boxes_are_those_of_the_corners(affine, size):
    low, high = box_by_corners(affine, size)
    assert np.allclose(bounding_box_mm(affine, size_vox=size), [low, high], atol=1e-6)
    assert np.allclose(extent_mm(affine, size_vox=size), np.linalg.norm(affine[:3, :3], axis=0) * size)


@settings(max_examples=60, deadline=None)
@given(size=sizes, shift=st.tuples(*[st.floats(-20, 20)] * 3))
def test_overlap_is_symmetric_and_exact_for_straight_grids(size, shift):
    here = Volume(np.zeros(size, np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    there = here.affine_mm.copy()
    there[:3, 3] = shift
    other = Volume(np.zeros(size, np.uint8), there)
    expected = [max(0.0, 2.0 * n - abs(s)) for n, s in zip(size, shift, strict=True)]
    assert overlap_mm(here, other) == pytest.approx(expected)
    assert overlap_mm(other, here) == pytest.approx(expected)


def test_displacement_is_that_of_the_farthest_corner():
    turned = np.eye(4)
    turned[:3, :3] = rotation((0.0, 0.0, np.pi))
    assert displacement_mm(np.eye(4), turned, size_vox=(10, 10, 1)) == pytest.approx(2 * np.hypot(9.5, 9.5))


def test_volumes_apart_are_refused_by_name():
    near = Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4), name="ct.nii.gz")
    far_affine = np.eye(4)
    far_affine[2, 3] = 104.0
    far = Volume(np.zeros((4, 4, 4), np.uint8), far_affine, name="mr.nii.gz")
    check_overlap({"ct": near})
    check_overlap({"ct": near, "mr": near})
    with pytest.raises(GeometryError, match=r"ct \(ct\.nii\.gz\) and mr \(mr\.nii\.gz\).*100\.0 mm apart along S"):
        check_overlap({"ct": near, "mr": far})
