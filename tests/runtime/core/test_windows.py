"""Where windows stand and how they are weighted, against MONAI and against plain sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.runtime.core import constant_value, gaussian_axes, longest_axis, window_starts
from tests.reference import sliding as reference

SIDES = st.integers(1, 12)
GRIDS = st.tuples(*(st.integers(1, 40) for _ in range(3)))
OVERLAPS = st.sampled_from((0.0, 0.25, 0.5, 0.75, 0.9))


@settings(max_examples=150, deadline=None)
@given(GRIDS, st.tuples(SIDES, SIDES, SIDES), OVERLAPS)
def test_windows_cover_every_voxel_once_in_c_order(size, window, overlap):
    starts = window_starts(size, window_vox=window, overlap=overlap)
    assert starts == sorted(starts)
    assert len(set(starts)) == len(starts)
    covered = np.zeros(size, bool)
    for start in starts:
        assert all(
            first >= 0 and first + side <= count if count >= side else first == -((side - count) // 2)
            for first, side, count in zip(start, window, size, strict=True)
        )
        covered[tuple(slice(max(first, 0), first + side) for first, side in zip(start, window, strict=True))] = True
    assert covered.all()


@settings(max_examples=100, deadline=None)
@given(GRIDS, st.tuples(SIDES, SIDES, SIDES), OVERLAPS)
def test_starts_are_those_of_monai(size, window, overlap):
    utils = pytest.importorskip("monai.inferers.utils")
    from monai.data.utils import dense_patch_slices

    padded = tuple(max(count, side) for count, side in zip(size, window, strict=True))
    interval = utils._get_scan_interval(padded, window, 3, (overlap,) * 3)
    expected = [tuple(part.start for part in item) for item in dense_patch_slices(padded, window, interval)]
    assert window_starts(padded, window_vox=window, overlap=overlap) == sorted(set(expected))


@pytest.mark.parametrize("window", [(8, 5, 6), (1, 2, 3), (16, 16, 16)])
def test_the_gaussian_is_separable_positive_and_single(window):
    x, y, z = gaussian_axes(window)
    assert all(profile.dtype == np.float32 and (profile > 0).all() for profile in (x, y, z))
    np.testing.assert_allclose(x[:, None, None] * y[:, None] * z, reference.gaussian(window), rtol=1e-5)


def test_the_last_of_the_longest_axes():
    assert [longest_axis(size) for size in ((9, 3, 3), (3, 9, 3), (3, 3, 9), (9, 9, 3), (5, 5, 5))] == [0, 1, 2, 1, 2]


def test_constant_value_sees_a_single_voxel():
    window = np.full((20, 30, 25), 2.5, np.float32)
    assert constant_value(window) == 2.5
    for place in itertools.product((0, 7, 19), (0, 29), (0, 13, 24)):
        changed = window.copy()
        changed[place] += 1e-6
        assert constant_value(changed) is None
