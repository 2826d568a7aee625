from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core import model_grid
from cmc_sdk.training.data.config import IntensityAugmentation, SpatialAugmentation
from cmc_sdk.training.data.intensity_augmentation import apply_intensity, draw_intensity
from cmc_sdk.training.data.scans import body_affine
from cmc_sdk.training.data.spatial import (
    SpatialParameters,
    clamp_centre,
    draw_spatial,
    random_centre,
    window_affine,
)
from tests.training.data.scenes import ORIENTATIONS, oriented_affine

IDENTITY = SpatialParameters(rotation=np.eye(3), scale=1.0, flip=False)
sizes = st.tuples(*[st.integers(3, 40)] * 3)
windows = st.tuples(*[st.integers(2, 32)] * 3)
orientations = st.sampled_from(ORIENTATIONS)


@given(orientations, sizes, windows, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_plain_window_lies_on_the_grid_or_contains_it(orientation, size, window, seed):
    affine = oriented_affine(orientation, spacing=(1.5, 2.0, 2.5), size=size, centre=(10.0, -20.0, 30.0))
    grid = model_grid(affine, size, spacing_mm=(2.0, 2.0, 2.0))
    rng = np.random.default_rng(seed)
    centre = random_centre(grid, window_vox=window, box=None, rng=rng)
    placed = window_affine(grid, centre_mm=centre, window_vox=window, parameters=IDENTITY)
    start = (np.linalg.inv(grid.affine_mm) @ placed)[:3, 3]
    room = np.asarray(grid.size_vox) - np.asarray(window)
    assert np.all(start >= np.minimum(room, 0) - 1e-6)
    assert np.all(start <= np.maximum(room, 0) + 1e-6)
    np.testing.assert_allclose(placed[:3, :3], grid.affine_mm[:3, :3])  # RAS axes, the model's spacing


@given(orientations, st.floats(0.5, 2.0), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_augmentation_keeps_the_centre_and_does_what_it_says(orientation, scale, flip, seed):
    size, window = (20, 24, 28), (9, 10, 11)
    grid = model_grid(oriented_affine(orientation, spacing=(2, 2, 2), size=size), size, spacing_mm=(2.0, 3.0, 4.0))
    drawn = draw_spatial(SpatialAugmentation(rotate_probability=1.0), rng=np.random.default_rng(seed))
    parameters = SpatialParameters(rotation=drawn.rotation, scale=scale, flip=flip)
    centre = np.array([1.0, 2.0, 3.0])
    affine = window_affine(grid, centre_mm=centre, window_vox=window, parameters=parameters)
    middle = affine @ np.append((np.asarray(window) - 1) / 2, 1.0)
    np.testing.assert_allclose(middle[:3], centre, atol=1e-9)
    # Magnified anatomy: the window's voxels are smaller.
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), np.array([2.0, 3.0, 4.0]) / scale)
    assert (np.linalg.det(affine[:3, :3]) < 0) == flip
    np.testing.assert_allclose(drawn.rotation @ drawn.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(drawn.rotation) == pytest.approx(1.0)


@given(orientations, sizes, st.data())
@settings(max_examples=60, deadline=None)
def test_body_coordinates_take_the_faces_of_the_box_to_0_and_1_in_ras_order(orientation, size, data):
    lower = tuple(data.draw(st.integers(0, item - 2)) for item in size)
    upper = tuple(data.draw(st.integers(low + 1, item)) for low, item in zip(lower, size, strict=True))
    affine = oriented_affine(orientation, spacing=(1.5, 2.0, 2.5), size=size, centre=(5.0, 6.0, 7.0))
    image = Volume(np.zeros(size, dtype=np.uint8), affine)
    body = body_affine(image, (lower, upper))
    faces = np.array([lower, upper], dtype=float) - 0.5
    corners = faces @ affine[:3, :3].T + affine[:3, 3]  # two opposite corners, mm
    lowest, highest = corners.min(axis=0), corners.max(axis=0)
    np.testing.assert_allclose(body @ np.append(lowest, 1.0), 0.0, atol=1e-9)
    np.testing.assert_allclose(body @ np.append(highest, 1.0), 1.0, atol=1e-9)


def test_a_centre_outside_is_brought_to_the_nearest_that_fits():
    grid = model_grid(np.diag([2.0, 2.0, 2.0, 1.0]), (20, 20, 4), spacing_mm=(2.0, 2.0, 2.0))
    centre = clamp_centre(np.array([1000.0, 20.0, -1000.0]), grid=grid, window_vox=(8, 8, 8))
    # Starts: 12 is the last on x; y is free; z may start from 4 - 8 = -4.
    np.testing.assert_allclose(centre, [2 * (12 + 3.5), 20.0, 2 * (-4 + 3.5)])


def test_draws_do_not_shift_when_a_step_is_switched_off():
    on = draw_spatial(SpatialAugmentation(rotate_probability=1, scale_probability=1), rng=np.random.default_rng(0))
    off = draw_spatial(SpatialAugmentation(rotate_probability=0, scale_probability=1), rng=np.random.default_rng(0))
    assert on.scale == off.scale != 1.0
    np.testing.assert_array_equal(off.rotation, np.eye(3))
    loud = IntensityAugmentation(probability=1.0, bias_probability=1.0)
    quiet = loud.model_copy(update={"bias_probability": 0.0})
    first = draw_intensity(loud, rng=np.random.default_rng(0))
    second = draw_intensity(quiet, rng=np.random.default_rng(0))
    assert second.bias is None
    assert (first.scale, first.shift, first.gamma, first.noise, first.noise_seed) == (
        second.scale, second.shift, second.gamma, second.noise, second.noise_seed,
    )  # fmt: skip


def test_intensity_is_applied_as_drawn_and_repeatably():
    window = np.random.default_rng(0).normal(size=(1, 8, 9, 10)).astype(np.float32)
    before = window.copy()
    config = IntensityAugmentation(probability=1.0, bias_probability=1.0)
    parameters = draw_intensity(config, rng=np.random.default_rng(1))
    first = apply_intensity(window, parameters=parameters)
    np.testing.assert_array_equal(first, apply_intensity(window, parameters=parameters))
    np.testing.assert_array_equal(window, before)
    assert first.dtype == np.float32
    assert first.shape == window.shape
    assert np.isfinite(first).all()
    assert not np.allclose(first, window)


def test_scale_and_shift_follow_their_formula():
    window = np.linspace(-2, 2, 27, dtype=np.float32).reshape(1, 3, 3, 3)
    off = draw_intensity(IntensityAugmentation(probability=0.0), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(apply_intensity(window, parameters=off), window)
    drawn = draw_intensity(IntensityAugmentation(probability=1.0), rng=np.random.default_rng(0))
    only = type(drawn)(
        scale=drawn.scale, shift=drawn.shift, gamma=None, noise=None, noise_seed=0, bias=None, bias_seed=0
    )
    np.testing.assert_allclose(
        apply_intensity(window, parameters=only), window * (1 + drawn.scale) + drawn.shift, rtol=1e-5, atol=1e-6
    )


def test_a_constant_window_stays_finite():
    window = np.full((1, 4, 4, 4), -3.0, dtype=np.float32)
    parameters = draw_intensity(
        IntensityAugmentation(probability=1.0, bias_probability=1.0), rng=np.random.default_rng(2)
    )
    assert np.isfinite(apply_intensity(window, parameters=parameters)).all()
