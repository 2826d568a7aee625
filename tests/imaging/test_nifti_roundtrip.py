"""What is read is what the file says; what is written lies on the same grid, bit for bit."""

from __future__ import annotations

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk import Volume, read_volume, write_volume
from tests.imaging.grids import AXIS_ORDERS, affines, rotation, save_nifti, signed_permutation, sizes
from tests.reference.geometry import header_block, nifti1_fields, qform_matrix, sform_matrix

DTYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64]


def values(dtype, size, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1e3, size).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -30000), min(info.max, 30000), size, dtype=dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nifti")


@settings(max_examples=120, deadline=None)
@given(
    affine=affines(),
    size=sizes,
    forms=st.sampled_from(["sform", "qform", "both"]),
    dtype=st.sampled_from(DTYPES),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    big_endian=st.booleans(),
    kind=st.sampled_from([1, 2]),
)
def test_any_grid_survives_reading_and_writing(folder, affine, size, forms, dtype, suffix, big_endian, kind):
    source = save_nifti(
        folder / f"in{suffix}", values(dtype, size), affine, forms=forms, kind=kind, big_endian=big_endian
    )
    volume = read_volume(source)
    theirs = nib.load(source)
    assert volume.stored.dtype == np.dtype(dtype)
    assert volume.stored.dtype.isnative
    assert np.array_equal(volume.stored, np.asanyarray(theirs.dataobj))
    if forms == "qform":  # products of a quaternion in another order: the last bit of numbers near 0 is free
        assert np.allclose(volume.affine_mm, theirs.affine, rtol=1e-13, atol=1e-15)
    else:
        assert np.array_equal(volume.affine_mm, theirs.affine)
    assert np.allclose(volume.affine_mm, affine, atol=1e-2)
    if kind == 1:
        fields = nifti1_fields(header_block(source))
        truth = qform_matrix(fields) if forms == "qform" else sform_matrix(fields)
        # Near a half turn a quaternion of three 32-bit numbers is only known to 6e-4, and libraries round it apart.
        assert np.allclose(volume.affine_mm, truth, rtol=1e-5, atol=1e-2 if forms == "qform" else 1e-5)

    label = volume.with_array(np.random.default_rng(1).integers(0, 5, size, dtype=np.uint8))
    target = folder / f"out{suffix}"
    write_volume(label, target)
    written = nib.load(target)
    assert type(written) is type(theirs)
    assert np.array_equal(np.asanyarray(written.dataobj), label.stored)
    for name in ("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"):
        assert same_bits(written.header[name], theirs.header[name])
    for name in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
        assert same_bits(written.header[name], theirs.header[name])
    if kind == 1 and not big_endian:
        assert nifti1_fields(header_block(target)).geometry_bytes == nifti1_fields(header_block(source)).geometry_bytes
    again = read_volume(target)
    assert np.array_equal(again.affine_mm, volume.affine_mm)
    assert (again.slope, again.intercept) == (1.0, 0.0)


def same_bits(ours, theirs):
    return np.asarray(ours).astype("<" + np.asarray(ours).dtype.str[1:]).tobytes() == (
        np.asarray(theirs).astype("<" + np.asarray(theirs).dtype.str[1:]).tobytes()
    )


@pytest.mark.parametrize(("order", "signs"), AXIS_ORDERS)
def test_every_axis_order_and_flip_by_name(tmp_path, order, signs):
    affine = np.eye(4)
    affine[:3, :3] = signed_permutation(order, signs) * (1.0, 2.0, 3.0)
    affine[:3, 3] = (-10.0, 20.0, 30.0)
    save_nifti(tmp_path / "scan.nii.gz", values(np.int16, (3, 4, 5)), affine, forms="both")
    volume = read_volume(tmp_path / "scan.nii.gz")
    assert np.array_equal(volume.affine_mm, affine)
    assert volume.notes == ()


@settings(max_examples=40, deadline=None)
@given(affine=affines(shear=0.4), size=sizes)
def test_a_volume_without_a_file_keeps_its_place(folder, affine, size):
    volume = Volume(np.random.default_rng(0).normal(size=size).astype(np.float32), affine)
    write_volume(volume, folder / "made.nii.gz")
    again = read_volume(folder / "made.nii.gz")
    assert again.same_grid(volume)
    assert np.array_equal(again.stored, volume.stored)
    assert again.notes == ()
    header = nib.load(folder / "made.nii.gz").header
    assert int(header["sform_code"]) == 1
    assert np.allclose(header.get_zooms(), volume.spacing_mm, rtol=1e-5)


@pytest.mark.parametrize(("shear", "code"), [(0.0, 1), (1e-6, 1), (0.3, 0)])
def test_a_qform_is_written_where_it_can_hold_the_affine(tmp_path, shear, code):
    affine = np.eye(4)
    affine[:3, :3] = rotation((0.1, 0.2, 0.3)) @ np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]]) * (0.5, 1.0, 3.0)
    write_volume(Volume(np.zeros((60, 50, 40), np.uint8), affine), tmp_path / "made.nii.gz")
    fields = nifti1_fields(header_block(tmp_path / "made.nii.gz"))
    assert (fields.sform_code, fields.qform_code) == (1, code)
    assert np.allclose(sform_matrix(fields), affine, atol=1e-6)
    assert np.allclose(qform_matrix(fields), affine, atol=1e-5) == bool(code)


@pytest.mark.parametrize("forms", ["sform", "qform"])
@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1024.0), (2.0, 3.0), (-1.0, 0.0), (1.0, -1000.0)])
def test_scaled_integers_keep_what_is_stored(tmp_path, slope, intercept, forms):
    stored = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
    source = save_nifti(tmp_path / "s.nii", stored, np.eye(4), scaling=(slope, intercept), forms=forms)
    volume = read_volume(source)
    assert volume.stored.dtype == np.int16
    assert np.array_equal(volume.stored, stored)
    assert (volume.slope, volume.intercept) == (slope, intercept)
    assert np.allclose(volume.data, nib.load(source).get_fdata())
    write_volume(volume, tmp_path / "t.nii")
    again = read_volume(tmp_path / "t.nii")
    assert np.array_equal(again.stored, stored)
    assert (again.slope, again.intercept) == (slope, intercept)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_slope_means_no_scaling(tmp_path, slope):
    source = save_nifti(tmp_path / "s.nii", np.ones((2, 2, 2), np.int16), np.eye(4), scaling=(slope, 7.0))
    assert (read_volume(source).slope, read_volume(source).intercept) == (1.0, 0.0)


@pytest.mark.parametrize(("units", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)])
@pytest.mark.parametrize("forms", ["both", "qform"])
def test_lengths_become_mm_and_stay_as_they_were_in_what_is_written(tmp_path, units, factor, forms):
    affine = np.diag([0.5, 0.5, 2.0, 1.0]) @ np.diag([1 / factor] * 3 + [1.0])
    affine[:3, 3] = np.array([1.0, 2.0, 3.0]) / factor
    source = save_nifti(tmp_path / "s.nii.gz", np.ones((3, 3, 3), np.uint8), affine, forms=forms, units=units)
    volume = read_volume(source)
    assert np.allclose(volume.spacing_mm, (0.5, 0.5, 2.0))
    assert np.allclose(volume.affine_mm[:3, 3], (1.0, 2.0, 3.0))
    write_volume(volume, tmp_path / "t.nii.gz")
    assert nifti1_fields(header_block(tmp_path / "t.nii.gz")).geometry_bytes == (
        nifti1_fields(header_block(source)).geometry_bytes
    )


def test_content_decides_not_the_name(tmp_path):
    plain = save_nifti(tmp_path / "a.nii", values(np.int16, (3, 4, 5)), np.eye(4))
    (tmp_path / "plain.nii.gz").write_bytes(plain.read_bytes())
    (tmp_path / "zipped.nii").write_bytes(gzip.compress(plain.read_bytes()))
    half = len(plain.read_bytes()) // 2
    parts = gzip.compress(plain.read_bytes()[:half]) + gzip.compress(plain.read_bytes()[half:]) + bytes(512)
    (tmp_path / "members.nii.gz").write_bytes(parts)
    for name in ("plain.nii.gz", "zipped.nii", "members.nii.gz"):
        assert np.array_equal(read_volume(tmp_path / name).stored, read_volume(plain).stored)


def test_voxels_after_a_header_extension_are_found(tmp_path):
    image = nib.Nifti1Image(values(np.int16, (3, 4, 5)), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 3000))
    nib.save(image, tmp_path / "e.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "e.nii.gz").stored, np.asanyarray(image.dataobj))


def test_dimensions_of_one_are_dropped(tmp_path):
    save_nifti(tmp_path / "t.nii", values(np.int16, (3, 4, 5, 1, 1)), np.eye(4))
    assert read_volume(tmp_path / "t.nii").size_vox == (3, 4, 5)


def test_equal_volumes_give_equal_bytes_and_nothing_of_the_patient(tmp_path):
    source = save_nifti(tmp_path / "in.nii", values(np.int16, (6, 5, 4)), np.diag([1, 2, 3, 1]))
    image = nib.load(source)
    image.header["descrip"], image.header["db_name"], image.header["aux_file"] = b"DOE^JOHN", b"DOE", b"doe.txt"
    nib.save(image, tmp_path / "named.nii")
    volume = read_volume(tmp_path / "named.nii")
    write_volume(volume, tmp_path / "a.nii.gz")
    write_volume(Volume(volume.stored.copy(order="C"), volume.affine_mm, header=volume.header), tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes()[4:8] == bytes(4)  # no time of day in the gzip header
    assert b"doe" not in gzip.decompress((tmp_path / "a.nii.gz").read_bytes()).lower()


def test_a_header_that_no_longer_fits_is_not_used(tmp_path):
    source = save_nifti(tmp_path / "in.nii", values(np.int16, (6, 5, 4)), np.diag([1, 2, 3, 1]), forms="both")
    volume = read_volume(source)
    moved = volume.affine_mm.copy()
    moved[0, 3] = 40.0
    write_volume(Volume(volume.stored, moved, header=volume.header), tmp_path / "moved.nii")
    assert np.array_equal(read_volume(tmp_path / "moved.nii").affine_mm, moved)


def test_what_nifti_1_cannot_hold_goes_into_nifti_2(tmp_path):
    far = np.eye(4)
    far[:3, 3] = 123456.7859
    for name, volume in {
        "long.nii.gz": Volume(np.zeros((40000, 1, 1), np.uint8), np.diag([0.1, 1, 1, 1])),
        "far.nii.gz": Volume(np.zeros((2, 2, 2), np.uint8), far),
    }.items():
        write_volume(volume, tmp_path / name)
        assert isinstance(nib.load(tmp_path / name), nib.Nifti2Image)
        assert read_volume(tmp_path / name).same_grid(volume)


def test_bool_and_half_are_written_as_the_nearest_type(tmp_path):
    for array, expected in (
        (np.eye(3, dtype=bool)[:, :, None], np.uint8),
        (np.ones((2, 2, 2), np.float16), np.float32),
    ):
        write_volume(Volume(array, np.eye(4)), tmp_path / "x.nii")
        assert read_volume(tmp_path / "x.nii").stored.dtype == expected
        assert np.array_equal(read_volume(tmp_path / "x.nii").stored, array.astype(expected))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_reading_holds_one_copy_and_writing_none(tmp_path, suffix):
    array = np.zeros((160, 160, 200), np.int16, order="F")
    array[40:120, 40:120] = np.arange(200)
    write_volume(Volume(array, np.eye(4)), tmp_path / f"big{suffix}")
    tracemalloc.start()
    try:
        volume = read_volume(tmp_path / f"big{suffix}")
        reading = tracemalloc.get_traced_memory()[1]
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        write_volume(volume, tmp_path / f"again{suffix}")
        writing = tracemalloc.get_traced_memory()[1] - kept
    finally:
        tracemalloc.stop()
    assert np.array_equal(volume.stored, array)
    assert reading < array.nbytes + (9 << 20)
    assert writing < 40 << 20
