"""Distances to a class's surface: against every pair, against scipy, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.runtime.core import surface_distances
from tests.reference.core import distance as reference


def every_voxel(shape: tuple[int, ...]) -> np.ndarray:
    return np.argwhere(np.ones(shape, bool))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*(st.integers(1, 6) for _ in range(3))),
    density=st.floats(0, 1),
    spacing=st.tuples(*(st.floats(0.3, 6.0) for _ in range(3))),
    seed=st.integers(0, 10**6),
    order=st.permutations((0, 1, 2)),
)
def test_every_pair(size, density, spacing, seed, order):
    rng = np.random.default_rng(seed)
    labels = ((rng.random(size) < density) * rng.integers(1, 3, size)).astype(np.uint8).transpose(order)
    points = every_voxel(labels.shape)
    found = surface_distances(labels, 2, points=points, spacing=spacing)
    np.testing.assert_allclose(found, reference.surface_distances(labels, 2, points, spacing), rtol=1e-9)


def test_a_large_volume_against_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((70, 60, 50)), 4)
    labels = (field > 0.02).astype(np.uint8)
    padded = np.pad(labels, 1)
    surface = labels.astype(bool) & ~ndimage.binary_erosion(padded, border_value=0)[1:-1, 1:-1, 1:-1]
    spacing = (0.7, 1.3, 3.0)
    expected = ndimage.distance_transform_edt(~surface, sampling=spacing)
    found = surface_distances(labels, 1, points=every_voxel(labels.shape), spacing=spacing)
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-9)


def test_a_class_that_is_not_there_is_infinitely_far():
    labels = np.zeros((3, 3, 3), np.uint8)
    assert surface_distances(labels, 1, points=every_voxel(labels.shape)).tolist() == [np.inf] * 27
    assert surface_distances(labels, 1, points=np.zeros((0, 3), np.int64)).size == 0


def test_what_cannot_be_measured_is_refused():
    labels = np.ones((3, 4, 5), np.uint8)
    with pytest.raises(ValueError, match="outside the grid"):
        surface_distances(labels, 1, points=np.array([[0, 4, 0]]))
    with pytest.raises(ValueError, match="spacing"):
        surface_distances(labels, 1, points=np.array([[0, 0, 0]]), spacing=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="0 to 255"):
        surface_distances(labels, 256, points=np.array([[0, 0, 0]]))
