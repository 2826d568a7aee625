"""Grids that lie anywhere: every axis order and flip, oblique, anisotropic, sheared; and windows near a source."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.imaging.grids import AXIS_ORDERS, rotation, signed_permutation


def make_affine(*, order=(0, 1, 2), signs=(1.0, 1.0, 1.0), spacing=(1.0, 1.0, 1.0), angles=(0, 0, 0), shear=0.0):
    """(4, 4) with the origin at 0."""
    affine = np.eye(4)
    sheared = np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
    affine[:3, :3] = rotation(angles) @ signed_permutation(order, signs) @ sheared * np.array(spacing)
    return affine


def move_centre(affine, size, centre):
    """The same grid with its centre at `centre` mm."""
    moved = affine.copy()
    moved[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(size) - 1) / 2)
    return moved


@st.composite
def straight(draw, *, least=0.5, most=4.0):
    order, signs = draw(st.sampled_from(AXIS_ORDERS))
    spacing = st.floats(least, most, width=32)
    return make_affine(order=order, signs=signs, spacing=draw(st.tuples(spacing, spacing, spacing)))


@st.composite
def anyhow(draw, *, least=0.5, most=4.0):
    order, signs = draw(st.sampled_from(AXIS_ORDERS))
    spacing, angle = st.floats(least, most, width=32), st.floats(-0.75, 0.75, width=32)
    return make_affine(
        order=order,
        signs=signs,
        spacing=draw(st.tuples(spacing, spacing, spacing)),
        angles=draw(st.tuples(angle, angle, angle)),
        shear=draw(st.sampled_from((0.0, 0.3, -0.2))),
    )


@st.composite
def pairs(draw, *, aligned):
    """Source affine and size, window affine and size; the window's centre lies near the source's."""
    kind = straight() if aligned else anyhow()
    sizes = st.tuples(*(st.integers(1, 7) for _ in range(3)))
    source_size, window_size = draw(sizes), draw(st.tuples(*(st.integers(1, 5) for _ in range(3))))
    near, far = st.floats(-6.0, 6.0, width=32), st.floats(-200.0, 200.0, width=32)
    centre = np.array(draw(st.tuples(far, far, far)))
    source = move_centre(draw(kind), source_size, centre)
    window = move_centre(draw(kind), window_size, centre + np.array(draw(st.tuples(near, near, near))))
    return source, source_size, window, window_size


SIZES = st.tuples(*(st.integers(1, 60) for _ in range(3)))
EXTREMES = [make_affine(order=order, signs=signs, spacing=(0.7, 1.1, 3.0)) for order, signs in AXIS_ORDERS]
