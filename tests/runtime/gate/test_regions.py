"""Where maps differ: pieces, places and distances, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.runtime.gate.regions import locate_flips

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 3.0, 0, 20], [0, 0, 5.0, 30], [0, 0, 0, 1]])


def block() -> np.ndarray:
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[3:8, 3:8, 3:8] = 1
    return labels


def points_of(*indices: tuple[int, int, int]) -> np.ndarray:
    return np.array(sorted(indices), np.int64)


def test_size_place_and_distance_by_hand() -> None:
    # Two voxels beyond the far face, and one voxel far along z.
    found = locate_flips(block(), 1, points=points_of((9, 5, 5), (8, 5, 5), (5, 5, 11)), affine_mm=AFFINE)
    assert found is not None
    assert (found.largest.size_vox, found.largest.index) == (2, (9, 5, 5))
    assert found.largest.ras_mm == (10 - 18, 20 + 15, 30 + 25)
    assert found.largest.distance_mm == pytest.approx(4.0)
    assert (found.farthest.size_vox, found.farthest.distance_mm) == (1, pytest.approx(20.0))
    assert found.beyond_vox == 2  # the voxel beside the face is within one voxel
    words = found.largest.describe()
    assert words == "2 voxels at index (9, 5, 5), RAS (-8.0, 35.0, 55.0) mm, 4.0 mm from the reference's surface"


def test_within_one_voxel_is_one_step_along_every_axis() -> None:
    # Beside a corner; inside, one below the surface; inside, two below.
    for point, beyond in (((8, 8, 8), 0), ((4, 4, 4), 0), ((5, 5, 5), 1), ((9, 3, 3), 1)):
        found = locate_flips(block(), 1, points=points_of(point), affine_mm=AFFINE)
        assert found is not None
        assert found.beyond_vox == beyond


def test_a_class_that_the_reference_lacks_is_infinitely_far() -> None:
    found = locate_flips(block(), 2, points=points_of((0, 0, 0)), affine_mm=AFFINE)
    assert found is not None
    assert math.isinf(found.farthest.distance_mm)
    assert found.beyond_vox == 1
    assert found.farthest.to_dict()["distance_mm"] is None
    assert "which the reference lacks" in found.farthest.describe()
    assert locate_flips(block(), 1, points=np.zeros((0, 3), np.int64), affine_mm=AFFINE) is None


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(*(st.integers(1, 8) for _ in range(3))), density=st.floats(0.05, 1), seed=st.integers(0, 10**6))
def test_the_largest_piece_is_scipys(size: tuple[int, int, int], density: float, seed: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    flipped = np.random.default_rng(seed).random(size) < density
    found = locate_flips(np.zeros(size, np.uint8), 0, points=np.argwhere(flipped), affine_mm=AFFINE)
    pieces, _ = ndimage.label(flipped)
    if found is None:
        assert not flipped.any()
    else:
        sizes = np.bincount(pieces.ravel())[1:]
        assert found.largest.size_vox == sizes.max()
        assert sizes[pieces[found.largest.index] - 1] == sizes.max()
