"""Windows sampled from anywhere against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk import Volume
from cmc_sdk.runtime.core import Threads, sample_window
from tests.reference import sampling as reference
from tests.runtime.core.grids import make_affine, pairs


def noise(size, seed, dtype=np.float32):
    values = np.random.default_rng(seed).uniform(-100, 100, size)
    return values.astype(dtype)


def check_linear(pair, seed, *, background=-37.5):
    source, source_size, window, size = pair
    array = noise(source_size, seed)
    found = sample_window(Volume(array, source), affine_mm=window, size_vox=size, background=background)
    expected = reference.sample_linear(array, source, window_affine=window, size=size, background=background)
    assert found.dtype == np.float32
    assert found.shape == size
    assert found.flags.c_contiguous
    # Grids that are askew by less than 1e-3 voxel over the window count as aligned.
    between = np.linalg.inv(source)[:3, :3] @ window[:3, :3]
    askew = np.abs(between) * (np.asarray(size) - 1)
    askew[np.abs(between).argmax(axis=0), range(3)] = 0.0
    reach = max(array.max(), background) - min(array.min(), background)
    nearly = 0.0 < askew.max() < 3e-3
    np.testing.assert_allclose(found, expected, atol=2e-3 + (3e-3 * reach if nearly else 0.0))


@settings(max_examples=150, deadline=None)
@given(pairs(aligned=True), st.integers(0, 9))
def test_linear_on_aligned_grids(pair, seed):
    check_linear(pair, seed)


@settings(max_examples=150, deadline=None)
@given(pairs(aligned=False), st.integers(0, 9))
def test_linear_on_grids_in_any_position(pair, seed):
    check_linear(pair, seed)


@settings(max_examples=150, deadline=None)
@given(st.booleans().flatmap(lambda aligned: pairs(aligned=aligned)), st.integers(0, 9))
def test_nearest_takes_the_voxel_whose_centre_is_nearest(pair, seed):
    source, source_size, window, size = pair
    array = noise(source_size, seed, np.int16)
    found = sample_window(Volume(array, source), affine_mm=window, size_vox=size, background=-9, mode="nearest")
    expected, doubtful = reference.sample_nearest(array, source, window_affine=window, size=size, background=-9)
    assert found.dtype == np.int16
    assert np.array_equal(found[~doubtful], expected[~doubtful])


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.2, -0.3, 0.1)])
@pytest.mark.parametrize("ratio", [0.4, 1.0, 3.7])
def test_a_plane_stays_a_plane_and_a_constant_a_constant(angles, ratio):
    affine = make_affine(spacing=(1.0, 2.0, 0.5), angles=angles)
    grid = np.stack(np.meshgrid(*map(np.arange, (24, 24, 24)), indexing="ij"), axis=-1)
    slope = np.array([2.0, -1.0, 0.25])
    values = (grid @ affine[:3, :3].T + affine[:3, 3]) @ slope
    window = affine.copy()
    window[:3, :3] *= ratio
    window[:3, 3] = affine[:3, :3] @ np.array([8.0, 8.0, 8.0])
    found = sample_window(Volume(values.astype(np.float32), affine), affine_mm=window, size_vox=(2, 2, 2), background=0)
    inside = np.stack(np.meshgrid(*map(np.arange, (2, 2, 2)), indexing="ij"), axis=-1)
    # Ratios off the whole numbers leave a ripple: taps of a wide tent do not lie symmetrically.
    np.testing.assert_allclose(found, (inside @ window[:3, :3].T + window[:3, 3]) @ slope, atol=0.25 * max(1, ratio))
    ones = Volume(np.full((24, 24, 24), 7, np.int16), affine)
    assert np.allclose(sample_window(ones, affine_mm=window, size_vox=(2, 2, 2), background=0), 7, atol=1e-5)


def test_the_own_grid_is_returned_exactly_and_outside_is_background():
    affine = make_affine(order=(2, 0, 1), signs=(-1.0, 1.0, -1.0), spacing=(0.7, 1.3, 2.9), angles=(0.3, 0.1, -0.2))
    array = noise((5, 6, 7), 3, np.int16)
    volume = Volume(array, affine)
    assert np.array_equal(sample_window(volume, affine_mm=affine, size_vox=(5, 6, 7), background=-5.0), array)
    wide = affine.copy()
    wide[:3, 3] += affine[:3, :3] @ np.array([-2.0, -1.0, -3.0])
    found = sample_window(volume, affine_mm=wide, size_vox=(9, 8, 13), background=-5.0)
    expected = np.pad(array, ((2, 2), (1, 1), (3, 3)), constant_values=-5.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    far = affine.copy()
    far[:3, 3] += 1e4
    assert (sample_window(volume, affine_mm=far, size_vox=(3, 3, 3), background=-5.0) == -5.0).all()


def test_scaled_integers_are_sampled_as_true_values():
    affine = make_affine()
    stored = noise((6, 6, 6), 1, np.int16)
    volume = Volume(stored, affine, slope=0.5, intercept=-10.0)
    plain = Volume(volume.data, affine)
    window = make_affine(spacing=(1.7, 0.6, 1.0))
    for mode in ("linear", "nearest"):
        given_scaled = sample_window(volume, affine_mm=window, size_vox=(5, 5, 5), background=-10.0, mode=mode)
        given_plain = sample_window(plain, affine_mm=window, size_vox=(5, 5, 5), background=-10.0, mode=mode)
        np.testing.assert_allclose(given_scaled, given_plain, atol=1e-4)


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.2, 0.1, 0.0)])
def test_threads_change_nothing(layout, angles):
    array = noise((40, 9, 70), 2)
    window = make_affine(spacing=(0.5, 1.5, 0.9), order=(2, 0, 1), angles=angles)
    arguments = {"affine_mm": window, "size_vox": (9, 50, 45), "background": 4.0}
    volume = Volume(np.asarray(array, order=layout), np.eye(4))
    whole = sample_window(volume, **arguments)
    for count in (2, 4):
        assert np.array_equal(sample_window(volume, **arguments, threads=Threads(count)), whole)
    np.testing.assert_allclose(whole, sample_window(Volume(array, np.eye(4)), **arguments), rtol=1e-5, atol=1e-4)
