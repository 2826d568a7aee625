"""The header structures beside nibabel's, field by field."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.imaging.nifti_block import NiftiBlock

KINDS = {1: nib.Nifti1Header, 2: nib.Nifti2Header}


@pytest.mark.parametrize("version", [1, 2])
def test_an_empty_header_is_nibabels_but_for_its_data_offset(version):
    theirs = KINDS[version](endianness="<")
    theirs["vox_offset"] = theirs.single_vox_offset
    assert NiftiBlock(version).to_bytes() == theirs.binaryblock


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_field_is_where_the_standard_puts_it(version, order):
    noise = np.random.default_rng(version).integers(0, 256, 540, dtype=np.uint8).tobytes()
    theirs = KINDS[version](noise[: 348 if version == 1 else 540], endianness=order, check=False)
    ours = NiftiBlock(version, byte_order=order, content=noise)
    assert ours.to_bytes() == theirs.binaryblock
    for name in theirs:
        assert np.asarray(ours[name]).tobytes() == np.asarray(theirs[name]).tobytes(), name


@settings(deadline=None)
@given(st.sampled_from([1, 2]), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 0.2]))
def test_an_affine_is_stated_as_nibabel_states_it(version, seed, turned, shear):
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] if turned else np.eye(3)[rng.permutation(3)]
    affine = np.eye(4)
    affine[:3, :3] = axes * rng.uniform(0.2, 5, 3) * rng.choice([-1, 1], 3)
    affine[:3, :3] += shear * rng.normal(size=(3, 3))
    affine[:3, 3] = rng.normal(0, 100, 3)
    theirs = KINDS[version](endianness="<")
    theirs.set_xyzt_units("mm")
    theirs.set_sform(affine, code=1)
    theirs.set_qform(affine, code=1)
    ours = NiftiBlock(version)
    ours.set_affine(affine)
    assert np.array_equal(ours.get_sform(), theirs.get_sform())
    assert ours.get_qform() == pytest.approx(theirs.get_qform(), abs=1e-4 if version == 1 else 1e-9)
    for name in ("pixdim", "qform_code", "sform_code", "xyzt_units", "qoffset_x", "qoffset_y", "qoffset_z"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6), name
    again = NiftiBlock(version, content=theirs.binaryblock)
    assert again.get_qform() == pytest.approx(theirs.get_qform(), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("quatern_b", 1.1, "longer than 1"), ("quatern_c", np.nan, "longer than 1"), ("pixdim", [2] + [1] * 7, "qfac"),
     ("pixdim", [1, -1] + [1] * 6, "negative")],
)  # fmt: skip
def test_what_a_qform_cannot_be(name, value, words):
    block = NiftiBlock(1)
    block[name] = value
    with pytest.raises(ValueError, match=words):
        block.get_qform()
