"""Counting pieces against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.runtime.components import count_components


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(*(st.integers(1, 9) for _ in range(3))),
    st.floats(0, 1),
    st.integers(0, 10**6),
    st.permutations((0, 1, 2)),
)
def test_counts_are_those_of_scipy(size, density, seed, order):
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = (np.random.default_rng(seed).random(size) < density).transpose(order)
    assert count_components(mask) == ndimage.label(mask)[1]


def test_a_snake_is_one_piece():
    mask = np.zeros((3, 21, 21), bool)
    mask[1, ::2] = True
    mask[1, 1::4, 20] = True
    mask[1, 3::4, 0] = True
    assert count_components(mask) == 1
    mask[1, 9, 20] = False
    assert count_components(mask) == 2
