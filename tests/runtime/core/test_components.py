"""Counting pieces against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.runtime.core import count_components


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(*(st.integers(1, 9) for _ in range(3))),
    st.floats(0, 1),
    st.integers(0, 10**6),
    st.permutations((0, 1, 2)),
)
def test_counts_are_those_of_scipy(size, density, seed, order):
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(seed)
    labels = ((rng.random(size) < density) * rng.integers(1, 4, size)).astype(np.uint8).transpose(order)
    expected = [0] + [ndimage.label(labels == index)[1] for index in (1, 2, 3)]
    assert count_components(labels, num_classes=4) == expected


def test_a_snake_is_one_piece():
    mask = np.zeros((3, 21, 21), np.uint8)
    mask[1, ::2] = 1
    mask[1, 1::4, 20] = 1
    mask[1, 3::4, 0] = 1
    assert count_components(mask, num_classes=2)[1] == 1
    mask[1, 9, 20] = 0
    assert count_components(mask, num_classes=2)[1] == 2
