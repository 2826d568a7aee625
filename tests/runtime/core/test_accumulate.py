"""The ring of open slices and slab-wise labelling against all logits at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.runtime.core import Accumulator, ModelGrid, Threads, longest_axis, ring_size, window_starts
from tests.reference import sliding as reference
from tests.runtime.core.grids import anyhow, make_affine, move_centre, straight

CLASSES = 3


def run(grid, *, target, target_size, window, overlap=0.5, seed=0, classes=CLASSES):
    """(found, expected): labels, confidence, … of both sides for random smooth window logits."""
    rng = np.random.default_rng(seed)
    starts = window_starts(grid.size_vox, window_vox=window, overlap=overlap)
    logits = {start: rng.normal(0, 2, (classes, *window)).astype(np.float32) for start in starts}
    accumulator = Accumulator(
        grid,
        target_affine_mm=target,
        target_size_vox=target_size,
        num_classes=classes,
        window_vox=window,
        starts=starts,
    )
    axis = longest_axis(grid.size_vox)
    for start in sorted(starts, key=lambda item: (item[axis], item)):
        accumulator.add(logits[start], start=start)
    field = reference.blend(logits, size=grid.size_vox, window=window)
    expected = reference.label_grid(field, model_affine=grid.affine_mm, target_affine=target, target_size=target_size)
    return accumulator.finish(), expected


def check(found, expected, *, classes=CLASSES):
    labels, confidence, counts, sums = found
    wanted, softmax, lead = expected
    clear = lead > 1e-3
    assert clear.mean() > 0.9 or clear.size < 100
    assert np.array_equal(labels[clear], wanted[clear])
    assert np.abs(confidence / 255.0 - softmax).max() < 0.5 / 255 + 1e-3
    assert counts.tolist() == np.bincount(labels.ravel(), minlength=classes).tolist()
    by_class = np.bincount(labels.ravel(), weights=confidence.ravel() / 255.0, minlength=classes)
    np.testing.assert_allclose(sums, by_class, rtol=1e-9, atol=1e-9)


@st.composite
def problems(draw, *, aligned):
    size = draw(st.tuples(*(st.integers(1, 14) for _ in range(3))))
    window = draw(st.tuples(*(st.integers(2, 6) for _ in range(3))))
    target_size = draw(st.tuples(*(st.integers(1, 8) for _ in range(3))))
    kind = straight(least=0.5, most=2.5) if aligned else anyhow(least=0.5, most=2.5)
    near = st.tuples(*(st.floats(-4, 4) for _ in range(3)))
    grid = ModelGrid(move_centre(draw(anyhow(most=2.0)), size, (10.0, -20.0, 30.0)), size)
    if aligned:  # the same directions as the grid, permuted, flipped, scaled
        grid = ModelGrid(move_centre(make_affine(spacing=(1.0, 1.25, 0.75)), size, (10.0, -20.0, 30.0)), size)
    centre = np.array([10.0, -20.0, 30.0]) + np.array(draw(near))
    target = move_centre(draw(kind), target_size, centre)
    return grid, target, target_size, window


@settings(max_examples=100, deadline=None)
@given(problems(aligned=True), st.sampled_from((0.0, 0.25, 0.5, 0.8)), st.integers(0, 99))
def test_aligned_targets(problem, overlap, seed):
    grid, target, target_size, window = problem
    check(*run(grid, target=target, target_size=target_size, window=window, overlap=overlap, seed=seed))


@settings(max_examples=100, deadline=None)
@given(problems(aligned=False), st.sampled_from((0.0, 0.25, 0.5, 0.8)), st.integers(0, 99))
def test_targets_in_any_position(problem, overlap, seed):
    grid, target, target_size, window = problem
    check(*run(grid, target=target, target_size=target_size, window=window, overlap=overlap, seed=seed))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.1, 0.2, -0.15)])
def test_the_ring_runs_along_every_axis(axis, angles):
    size = tuple(30 if a == axis else 7 for a in range(3))
    assert longest_axis(size) == axis
    assert ring_size(size, (5, 5, 5)) == tuple(6 if a == axis else 7 for a in range(3))
    grid = ModelGrid(np.eye(4), size)
    target_size = tuple(20 if a == axis else 9 for a in range(3))
    spacing = [0.8] * 3
    spacing[axis] = 1.6
    affine = make_affine(spacing=spacing, angles=angles)
    target = move_centre(affine, target_size, (np.array(size) - 1) / 2)
    check(*run(grid, target=target, target_size=target_size, window=(5, 5, 5), seed=axis))


def test_a_grid_smaller_than_the_window_uses_its_middle():
    grid = ModelGrid(np.eye(4), (3, 9, 2))
    check(*run(grid, target=np.eye(4), target_size=(3, 9, 2), window=(8, 6, 5)))


def test_the_own_grid_is_labelled_without_interpolation():
    grid = ModelGrid(np.diag([2.0, 2.0, 2.0, 1.0]), (6, 5, 9))
    logits = np.random.default_rng(0).normal(0, 1, (4, 6, 5, 9)).astype(np.float32)
    accumulator = Accumulator(
        grid,
        target_affine_mm=grid.affine_mm,
        target_size_vox=grid.size_vox,
        num_classes=4,
        window_vox=grid.size_vox,
        starts=[(0, 0, 0)],
    )
    accumulator.add(logits, start=(0, 0, 0))
    assert np.array_equal(accumulator.finish()[0], logits.argmax(axis=0))


def test_a_window_that_comes_too_late_is_refused():
    starts = window_starts((4, 4, 20), window_vox=(4, 4, 4), overlap=0.5)
    accumulator = Accumulator(
        ModelGrid(np.eye(4), (4, 4, 20)),
        target_affine_mm=np.eye(4),
        target_size_vox=(4, 4, 20),
        num_classes=2,
        window_vox=(4, 4, 4),
        starts=starts,
    )
    logits = np.zeros((2, 4, 4, 4), np.float32)
    for start in starts[:2]:
        accumulator.add(logits, start=start)
    with pytest.raises(ValueError, match="after its slices were closed"):
        accumulator.add(logits, start=starts[0])


def label_logits(logits):
    """Labels and confidence of (K, n) logits, as one window on a grid of n voxels."""
    size = (1, 1, logits.shape[1])
    accumulator = Accumulator(
        ModelGrid(np.eye(4), size),
        target_affine_mm=np.eye(4),
        target_size_vox=size,
        num_classes=len(logits),
        window_vox=size,
        starts=[(0, 0, 0)],
    )
    accumulator.add(logits.reshape(len(logits), *size), start=(0, 0, 0))
    return [found.ravel() for found in accumulator.finish()[:2]]


def test_ties_go_to_the_lowest_class_and_confidence_is_the_softmax():
    logits = np.array([[1.0, 0.0, -3.0, 200.0], [1.0, 2.0, -3.0, -200.0], [0.0, 2.0, -3.0, 0.0]], np.float32)
    labels, confidence = label_logits(logits)
    assert labels.tolist() == [0, 1, 0, 0]
    softmax = np.exp(logits - logits.max(axis=0))
    softmax /= softmax.sum(axis=0)
    assert confidence.tolist() == np.rint(softmax.max(axis=0) * 255).tolist()


def test_many_classes_fit_in_uint8():
    logits = np.zeros((256, 3), np.float32)
    logits[[255, 128, 0], [0, 1, 2]] = 1.0
    assert label_logits(logits)[0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.2, 0.0, 0.1)])
def test_a_target_in_the_middle_of_a_wider_grid(angles):
    """A scan with a wider partner: its first voxel lies well inside the model grid along every axis."""
    target = move_centre(make_affine(spacing=(0.9, 1.1, 1.3), angles=angles), (5, 6, 4), (9.0, 8.0, 10.0))
    check(*run(ModelGrid(np.eye(4), (16, 15, 20)), target=target, target_size=(5, 6, 4), window=(6, 6, 6)))


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.3, 0.2, 0.1)])
def test_every_voxel_is_counted_once_where_the_second_row_starts_at_one(angles):
    target = move_centre(make_affine(spacing=(1.0, 1.0, 1.0), angles=angles), (6, 6, 9), (2.0, 2.0, 3.0))
    found, expected = run(ModelGrid(np.eye(4), (5, 5, 7)), target=target, target_size=(6, 6, 9), window=(6, 6, 6))
    check(found, expected)
    assert found[2].sum() == 6 * 6 * 9


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.3, 0.2, 0.1)])
def test_labels_do_not_depend_on_threads(angles):
    grid = ModelGrid(np.eye(4), (20, 21, 30))
    target = move_centre(make_affine(spacing=(0.7, 0.6, 0.8), angles=angles), (31, 33, 35), (10.0, 10.0, 15.0))
    starts = window_starts(grid.size_vox, window_vox=(12, 12, 12), overlap=0.5)
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 1, (14, 12, 12, 12)).astype(np.float32) for _ in starts]
    found = []
    for count in (1, 2, 4, 4, 2, 1):
        accumulator = Accumulator(
            grid,
            target_affine_mm=target,
            target_size_vox=(31, 33, 35),
            num_classes=14,
            window_vox=(12, 12, 12),
            starts=starts,
            threads=Threads(count),
        )
        for start, values in sorted(zip(starts, logits, strict=True), key=lambda item: (item[0][2], item[0])):
            accumulator.add(values, start=start)
        found.append(accumulator.finish())
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
