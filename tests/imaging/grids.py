"""Grids for property tests: every axis order and flip, oblique, anisotropic, sheared."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
from hypothesis import strategies as st

AXIS_ORDERS = [
    (order, signs) for order in itertools.permutations((0, 1, 2)) for signs in itertools.product((1.0, -1.0), repeat=3)
]


def signed_permutation(order, signs):
    matrix = np.zeros((3, 3))
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[row, column] = sign
    return matrix


def rotation(angles):
    x, y, z = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


@st.composite
def affines(draw, *, most_angle=3.25, shear=0.0):
    """(4, 4): a signed permutation, turned by up to `most_angle` about each axis, with spacings of .25 to 8 mm."""
    order, signs = draw(st.sampled_from(AXIS_ORDERS))
    angle = st.floats(-most_angle, most_angle, width=32)
    spacing = st.floats(0.25, 8.0, width=32)
    turned = rotation(draw(st.tuples(angle, angle, angle))) @ signed_permutation(order, signs)
    if shear:
        turned = turned @ np.array([[1, draw(st.floats(-shear, shear)), 0], [0, 1, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turned * np.array(draw(st.tuples(spacing, spacing, spacing)))
    offset = st.floats(-500.0, 500.0, width=32)
    affine[:3, 3] = draw(st.tuples(offset, offset, offset))
    return affine


sizes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))


def save_nifti(path, array, affine, *, forms="sform", scaling=None, kind=1, big_endian=False, units="mm"):
    """Write with nibabel, which is the independent side of these tests. forms: sform, qform, both or none.

    `scaling` = (slope, intercept) is patched into an uncompressed NIfTI-1 file, since nibabel chooses its own.
    """
    header = (nib.Nifti1Header if kind == 1 else nib.Nifti2Header)(endianness=">" if big_endian else "<")
    header.set_data_dtype(array.dtype)
    header.set_xyzt_units(units)
    image = (nib.Nifti1Image if kind == 1 else nib.Nifti2Image)(array, None, header=header)
    image.set_sform(affine if forms in ("sform", "both") else None, code=2 if forms in ("sform", "both") else 0)
    image.set_qform(affine if forms in ("qform", "both") else None, code=1 if forms in ("qform", "both") else 0)
    nib.save(image, path)
    if scaling is not None:
        patch(path, 112, np.array(scaling, "<f4").tobytes())
    return path


def patch(path, at, new):
    """Overwrite bytes of an uncompressed file."""
    block = bytearray(path.read_bytes())
    block[at : at + len(new)] = new
    path.write_bytes(block)
    return path
