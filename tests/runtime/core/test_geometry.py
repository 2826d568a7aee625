"""Model grids, their extension to a partner, and overlap of scans."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.runtime.core import boxes_overlap, extend_grid, model_grid
from tests.imaging.grids import AXIS_ORDERS
from tests.reference.geometry import codes_by_walking
from tests.runtime.core.grids import SIZES, anyhow, make_affine, move_centre, straight

SPACINGS = st.tuples(*(st.floats(0.5, 4.0) for _ in range(3)))


def corners(affine, size):
    edges = itertools.product(*((-0.5, count - 0.5) for count in size))
    return np.array([affine @ np.array([*edge, 1.0]) for edge in edges])


def centre(affine, size):
    return (affine @ np.array([*((np.array(size) - 1) / 2), 1.0]))[:3]


def covers(grid, affine, size, slack):
    inside = (np.linalg.inv(grid.affine_mm) @ corners(affine, size).T)[:3]
    limit = np.array(grid.size_vox)[:, None] - 0.5
    return bool((inside >= -0.5 - slack).all() and (inside <= limit + slack).all())


@settings(max_examples=200, deadline=None)
@given(st.one_of(straight(), anyhow()), SIZES, SPACINGS)
def test_model_grid_keeps_axes_centre_and_extent(affine, size, spacing):
    grid = model_grid(affine, size, spacing_mm=spacing)
    lengths = np.linalg.norm(grid.affine_mm[:3, :3], axis=0)
    np.testing.assert_allclose(lengths, spacing)
    # The axes are the volume's own, up to order and sign: each new one is parallel to exactly one old one.
    old = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs((grid.affine_mm[:3, :3] / lengths).T @ old)
    assert sorted(cosines.argmax(axis=1).tolist()) == [0, 1, 2]
    np.testing.assert_allclose(cosines.max(axis=1), 1.0)
    np.testing.assert_allclose(centre(grid.affine_mm, grid.size_vox), centre(affine, size), atol=1e-6)
    assert covers(grid, affine, size, slack=1e-3)
    source = np.array(size) * np.linalg.norm(affine[:3, :3], axis=0)
    for row, axis in enumerate(cosines.argmax(axis=1)):
        assert (grid.size_vox[row] - 1) * spacing[row] < source[axis]  # not one voxel more than is needed


@pytest.mark.parametrize(("order", "signs"), AXIS_ORDERS)
def test_model_grid_turns_every_axis_order_to_ras(order, signs):
    affine = make_affine(order=order, signs=signs, spacing=(1, 2, 3), angles=(0.3, -0.2, 0.25))
    assert codes_by_walking(model_grid(affine, (4, 5, 6), spacing_mm=(1, 1, 1)).affine_mm) == "RAS"


def test_an_exact_fit_is_not_rounded_up():
    grid = model_grid(make_affine(spacing=(0.8, 0.8, 2.5)), (512, 512, 200), spacing_mm=(1.6, 0.4, 0.5))
    assert grid.size_vox == (256, 1024, 1000)
    assert model_grid(np.eye(4), (1, 1, 1), spacing_mm=(5, 5, 5)).size_vox == (1, 1, 1)


@settings(max_examples=100, deadline=None)
@given(anyhow(), anyhow(), SIZES, SIZES, st.tuples(*(st.floats(-40, 40) for _ in range(3))))
def test_an_extended_grid_covers_both_in_the_same_phase(first, second, size, other_size, shift):
    grid = model_grid(first, size, spacing_mm=(1.5, 1.5, 2.0))
    second = move_centre(second, other_size, centre(first, size) + np.array(shift))
    wide = extend_grid(grid, affine_mm=second, size_vox=other_size)
    assert covers(wide, second, other_size, slack=1e-3)
    assert covers(wide, grid.affine_mm, grid.size_vox, slack=1e-6)
    assert np.array_equal(wide.affine_mm[:3, :3], grid.affine_mm[:3, :3])
    phase = (np.linalg.inv(grid.affine_mm) @ wide.affine_mm)[:3, 3]
    np.testing.assert_allclose(phase, phase.round(), atol=1e-6)


def test_a_grid_that_covers_already_stays_as_it_is():
    grid = model_grid(make_affine(spacing=(1, 1, 2)), (20, 20, 20), spacing_mm=(1, 1, 1))
    same = extend_grid(grid, affine_mm=make_affine(spacing=(1, 1, 2)), size_vox=(20, 20, 20))
    assert same.size_vox == grid.size_vox
    assert np.array_equal(same.affine_mm, grid.affine_mm)


@settings(max_examples=150, deadline=None)
@given(anyhow(), anyhow(), st.tuples(*(st.floats(-15, 15) for _ in range(3))))
def test_overlap_agrees_with_looking_for_a_common_point(first, second, shift):
    size, other_size = (5, 4, 6), (6, 5, 3)
    first, second = move_centre(first, size, (0, 0, 0)), move_centre(second, other_size, shift)
    found = boxes_overlap(first, size, other_affine_mm=second, other_size_vox=other_size)
    assert found == boxes_overlap(second, other_size, other_affine_mm=first, other_size_vox=size)
    points = [np.linspace(-0.499, count - 0.501, 12) for count in size]
    grid = np.stack([*(axis.ravel() for axis in np.meshgrid(*points, indexing="ij")), np.ones(12**3)])
    inside = (np.linalg.inv(second) @ first @ grid)[:3]
    common = ((inside > -0.5) & (inside < np.array(other_size)[:, None] - 0.5)).all(axis=0).any()
    if common:
        assert found
    if found:
        grown = np.array(other_size)[:, None] - 0.5
        # The sparse search can miss a sliver: allow it the distance of two search points.
        slack = 2.0 * np.abs(np.linalg.inv(second)[:3, :3] @ first[:3, :3]).sum(axis=1)[:, None]
        assert ((inside > -0.5 - slack) & (inside < grown + slack)).all(axis=0).any()


def test_boxes_that_only_touch_do_not_overlap():
    affine, moved = np.eye(4), np.eye(4)
    moved[0, 3] = 4.0
    assert not boxes_overlap(affine, (4, 4, 4), other_affine_mm=moved, other_size_vox=(4, 4, 4))
    moved[0, 3] = 3.9
    assert boxes_overlap(affine, (4, 4, 4), other_affine_mm=moved, other_size_vox=(4, 4, 4))


def test_crossed_rods_are_told_apart_by_their_edges():
    """No face of either separates them: only the direction across both edges does."""
    along_x = make_affine(angles=(np.pi / 4, 0, 0))
    along_y = make_affine(angles=(0, np.pi / 4, 0))
    first = move_centre(along_x, (20, 1, 1), (0, 0, 0))
    for height, common in ((1.3, True), (1.5, False)):  # the edges meet at the square root of 2
        second = move_centre(along_y, (1, 20, 1), (0, 0, height))
        assert boxes_overlap(first, (20, 1, 1), other_affine_mm=second, other_size_vox=(1, 20, 1)) == common
