"""Bad files: each refused by its name, with the rule and the way out, in one line; and nothing half-written."""

from __future__ import annotations

import errno
import gzip
import os

import nibabel as nib
import numpy as np
import pytest

from cmc_sdk import Volume, write_volume
from cmc_sdk.errors import DataError, GeometryError, InputError, ResourceError
from cmc_sdk.imaging import nifti
from cmc_sdk.imaging.nifti import read_nifti
from tests.imaging.grids import patch, save_nifti


def scan(path, *, dtype=np.int16, size=(6, 5, 4), **options):
    array = np.arange(np.prod(size)).reshape(size).astype(dtype)
    return save_nifti(path, array, np.diag([1.0, 2.0, 3.0, 1.0]), **options)


def refused(path, *parts, error=DataError, label=False):
    with pytest.raises(error) as caught:
        read_nifti(path, label=label)
    message = str(caught.value)
    for part in (path.name, *parts):
        assert part in message
    assert caught.value.mend
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_missing_empty_and_folder(tmp_path):
    refused(tmp_path / "nowhere.nii.gz", "does not exist")
    (tmp_path / "empty.nii.gz").touch()
    refused(tmp_path / "empty.nii.gz", "is empty")
    refused(tmp_path, "is a folder")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whose permissions are checked")
def test_unreadable(tmp_path):
    path = scan(tmp_path / "a.nii")
    path.chmod(0)
    refused(path, "cannot be read")


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated(tmp_path, keep):
    path = scan(tmp_path / "a.nii", size=(20, 20, 20))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    refused(path, "is truncated", str(len(whole)))


@pytest.mark.parametrize("drop", [1, 4, 8, 100])
def test_truncated_gz_is_seen_even_where_all_voxels_are_there(tmp_path, drop):
    path = scan(tmp_path / "a.nii.gz", size=(20, 20, 20))
    whole = path.read_bytes()
    path.write_bytes(whole[:-drop])
    refused(path, "is truncated")


def test_gz_of_a_truncated_file(tmp_path):
    path = scan(tmp_path / "a.nii", size=(20, 20, 20))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()[:-100]))
    refused(tmp_path / "b.nii.gz", "is truncated", "holds 16252")


def test_damaged_gz(tmp_path):
    path = scan(tmp_path / "a.nii.gz", size=(20, 20, 20))
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 1  # the checksum
    path.write_bytes(whole)
    refused(path, "is damaged")


def test_a_header_that_claims_terabytes_is_refused_before_memory_is_asked_for(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        path = scan(tmp_path / "a.nii")
        patch(path, 40, np.array([3, 32767, 32767, 32767], "<i2").tobytes())
        patch(path, 280, np.diag([0.1, 0.1, 0.1, 1.0])[:3].astype("<f4").tobytes())
        if name.endswith("gz"):
            path = tmp_path / name
            path.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
        refused(path, "is truncated")


def test_not_a_nifti(tmp_path):
    for name, content, word in (
        ("text.nii", b"hello, this is no scan" * 40, "is not a NIfTI file"),
        ("dicom.nii", bytes(128) + b"DICM" + bytes(1000), "a DICOM file"),
        ("nrrd.nii.gz", b"NRRD0004\n" + bytes(600), "an NRRD file"),
        ("meta.nii", b"ObjectType = Image\n" + bytes(600), "a MetaImage"),
        ("short.nii", b"\x5c\x01\0\0" + bytes(20), "is truncated"),
        ("tiny.nii", b"a", "is not a NIfTI file"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, word)
    path = scan(tmp_path / "old.nii")
    refused(patch(path, 344, b"\0\0\0\0"), "ANALYZE")
    refused(patch(path, 344, b"ni1\0"), ".hdr/.img pair")


def test_more_than_one_volume_and_other_dimensions(tmp_path):
    refused(scan(tmp_path / "series.nii.gz", size=(6, 5, 4, 3)), "3 volumes", "(6, 5, 4, 3)")
    refused(scan(tmp_path / "vectors.nii.gz", size=(6, 5, 4, 1, 3)), "3 volumes")
    refused(scan(tmp_path / "flat.nii.gz", size=(6, 5)), "2-D")
    path = scan(tmp_path / "zero.nii")
    refused(patch(path, 42, np.array([0], "<i2").tobytes()), "impossible dimensions")
    refused(patch(path, 40, np.array([9], "<i2").tobytes()), "impossible dimensions")


def test_colour_and_complex(tmp_path):
    rgb = np.zeros((3, 3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii.gz")
    refused(tmp_path / "rgb.nii.gz", "RGB24", "float32")
    refused(scan(tmp_path / "complex.nii.gz", dtype=np.complex64), "complex64")
    path = scan(tmp_path / "odd.nii")
    refused(patch(path, 70, np.array([77], "<i2").tobytes()), "datatype code 77")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinite_voxels(tmp_path, value, dtype):
    array = np.ones((6, 5, 4), dtype)
    array[1, 2, 3] = array[5, 4, 2] = value
    refused(save_nifti(tmp_path / "bad.nii.gz", array, np.eye(4)), "2 of 120 voxels", "(5, 4, 2)")


def test_values_beyond_32_bit_floats(tmp_path):
    array = np.ones((6, 5, 4))
    array[0, 0, 0] = 1e39
    refused(save_nifti(tmp_path / "huge.nii", array, np.eye(4)), "1 of 120 voxels")
    array = np.full((6, 5, 4), 1e30, np.float32)
    refused(save_nifti(tmp_path / "scaled.nii", array, np.eye(4), scaling=(1e20, 0.0)), "120 of 120 voxels")


@pytest.mark.parametrize("scaling", [(np.inf, 0.0), (2.0, np.nan), (1.0, np.inf)])
def test_scaling_that_is_not_finite(tmp_path, scaling):
    refused(scan(tmp_path / "s.nii", scaling=scaling), "scaling is not finite")


def test_no_geometry_at_all(tmp_path):
    refused(scan(tmp_path / "none.nii.gz", forms="none"), "both 0", "nothing is guessed", error=GeometryError)


def test_singular_and_nan_affines(tmp_path):
    for rows, word in (
        (np.zeros((3, 4)), "singular"),
        (np.diag([1.0, 1.0, 0.0, 1.0])[:3], "singular"),
        ([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], "singular"),
        (np.full((3, 4), np.nan), "NaN"),
        ([[1, 0, 0, np.inf], [0, 1, 0, 0], [0, 0, 1, 0]], "NaN or infinite"),
    ):
        path = patch(scan(tmp_path / "sform.nii"), 280, np.array(rows, "<f4").tobytes())
        refused(path, word, "sform", error=GeometryError)
    path = patch(scan(tmp_path / "qform.nii", forms="qform"), 256, np.array([2.0, 2.0, 2.0], "<f4").tobytes())
    refused(path, "qform", error=GeometryError)
    path = patch(scan(tmp_path / "pixdim.nii", forms="qform"), 80, np.array([1.0, np.nan], "<f4").tobytes())
    refused(path, "qform", error=GeometryError)


def test_an_impossible_unit_or_length(tmp_path):
    refused(patch(scan(tmp_path / "u.nii"), 123, b"\x05"), "unit of length", error=GeometryError)
    refused(scan(tmp_path / "m.nii", units="meter"), "12 m long", "unit", error=GeometryError)


@pytest.mark.parametrize(
    "turn", [np.diag([-1.0, 1, 1, 1]), np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])]
)
def test_sform_and_qform_that_mirror_or_turn_each_other(tmp_path, turn):
    path = scan(tmp_path / "two.nii", forms="both")
    image = nib.load(path)
    image.set_qform(turn @ image.affine, code=1)
    nib.save(image, tmp_path / "two.nii.gz")
    refused(tmp_path / "two.nii.gz", "voxel axis", "code to 0", error=GeometryError)


def test_sform_and_qform_that_differ_less_give_the_sform_and_a_note(tmp_path):
    image = nib.load(scan(tmp_path / "two.nii", forms="both"))
    moved = image.affine.copy()
    moved[:3, 3] = (5.0, 0.0, 0.0)
    image.set_sform(moved, code=2)
    nib.save(image, tmp_path / "moved.nii.gz")
    volume = read_nifti(tmp_path / "moved.nii.gz")
    assert np.array_equal(volume.affine_mm, moved)
    assert len(volume.notes) == 1
    assert "5 mm apart" in volume.notes[0]
    assert volume.with_array(np.zeros(volume.size_vox, np.uint8)).notes == ()

    path = patch(scan(tmp_path / "q.nii", forms="both"), 256, np.array([2.0, 2.0, 2.0], "<f4").tobytes())
    assert "the sform is used" in read_nifti(path).notes[0]


@pytest.mark.parametrize("offset", [0.0, 300.0, np.nan, 352.5])
def test_voxels_cannot_start_inside_the_header(tmp_path, offset):
    refused(patch(scan(tmp_path / "o.nii"), 108, np.array([offset], "<f4").tobytes()), "puts the voxels at byte")


def test_a_voxel_offset_beyond_the_end(tmp_path):
    path = patch(scan(tmp_path / "o.nii"), 108, np.array([5000.0], "<f4").tobytes())
    refused(path, "is truncated")
    (tmp_path / "o.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    refused(tmp_path / "o.nii.gz", "is truncated")


def test_writing_is_refused_by_name(tmp_path):
    volume = Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    with pytest.raises(InputError, match=r"a\.mha: a NIfTI file ends in \.nii or \.nii\.gz"):
        write_volume(volume, tmp_path / "a.mha")
    with pytest.raises(InputError, match="its folder does not exist"):
        write_volume(volume, tmp_path / "nowhere" / "a.nii.gz")
    for dtype in (np.complex64, np.longdouble):
        with pytest.raises(InputError, match="cannot be written"):
            write_volume(Volume(np.zeros((2, 2, 2), dtype), np.eye(4)), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_what_was_there(tmp_path, monkeypatch, error):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"what was there")
    write = nifti.write_bytes

    def half(temporary, **options):
        write(temporary, **options)
        raise error

    monkeypatch.setattr(nifti, "write_bytes", half)
    with pytest.raises(ResourceError if isinstance(error, OSError) else KeyboardInterrupt):
        write_volume(Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)), path)
    assert [item.name for item in tmp_path.iterdir()] == ["a.nii.gz"]
    assert path.read_bytes() == b"what was there"
