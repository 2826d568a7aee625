"""Real files: the table of the docs, and the same geometry and voxels as programs that we did not write."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.dicom.reading.read_series import read_dicom, read_series
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from cmc_sdk.imaging.orientation import reorient
from cmc_sdk.imaging.volume import Volume
from tests.imaging.dicom.reading.outcomes import dicom_folders, outcomes_table

pytestmark = pytest.mark.data

DOCS = Path(__file__).parents[4] / "docs" / "dicom.md"
PROSTATE = "dicom_mr_prostatex0000"
# dcm2niix keeps the padding of GE as it is; here it becomes air.
PADDED = "dicom_seg_dcmqi/segmentations/ct-3slice"


def test_the_table_of_the_docs_is_what_comes_out(test_data):
    text = DOCS.read_text("utf-8")
    committed = text.split("<!-- outcomes -->\n")[1].split("<!-- end -->")[0].strip()
    assert outcomes_table(test_data).strip() == committed
    assert len(dicom_folders(test_data)) == 33


def compare(volume, other, *, padded=False):
    """Geometry to 1e-3 mm and voxels exactly, whatever the order and direction of the axes."""
    ours, theirs = reorient(volume), reorient(other)
    assert ours.size_vox == theirs.size_vox
    assert ours.same_grid(theirs, tolerance_mm=1e-3)
    one, two = ours.data, theirs.data
    if padded:
        where = two < one.min()
        assert np.unique(two[where]).size == 1
        assert (one[where] == one.min()).all()
        one, two = one[~where], two[~where]
    if volume.stored.dtype.kind in "iu" and volume.slope == 1.0:
        assert np.array_equal(one, two)
    else:  # multiplied in 32 bits by the one and in 64 by the other
        assert np.allclose(one, two, rtol=3e-7, atol=0)


def converted(folder, out, *words):
    """Volumes of dcm2niix, 4-D ones taken apart; none of those that it resampled."""
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (Debian: apt install dcm2niix)")
    command = [
        "dcm2niix",
        "-b",
        "n",
        "-z",
        "n",
        "-l",
        "o",
        "-p",
        "n",
        *words,
        "-f",
        "%s_%d",
        "-o",
        str(out),
        str(folder),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    volumes = []
    for path in sorted(out.glob("*.nii")):
        if "_Tilt_" in path.name or "_Eq_" in path.name:
            continue
        image = nib.load(path)
        data = image.get_fdata(dtype=np.float64)
        data = data[..., None] if data.ndim == 3 else data
        volumes += [Volume(data[..., index], image.affine, name=path.name) for index in range(data.shape[3])]
    return volumes


@pytest.mark.parametrize(
    "name",
    [
        "dicom_awkward_noise/002_non_isotropic",
        "dicom_awkward_noise/anatomical/001",
        "dicom_awkward_noise/compressed_j2k/001",
        "dicom_awkward_noise/compressed_jpeg/001",
        "dicom_awkward_noise/compressed_rle/001",
        "dicom_enhanced_noise/hyperfine/001",
        "dicom_enhanced_noise/philips/001",
        "dicom_enhanced_real/Siemens/XA10",
        "dicom_mr_pgbm003/11-T1post-18670",
        "dicom_mr_pgbm003/11_HCropVolume",
        "dicom_mr_pgbm003/36468-FLAIRreg-58706",
        f"{PROSTATE}/4.000000-t2tsetra-00702",
        f"{PROSTATE}/6.000000-ep2ddifftraDYNDIST-69284",
        f"{PROSTATE}/7.000000-ep2ddifftraDYNDISTADC-48780",
        f"{PROSTATE}/8.000000-ep2ddifftraDYNDISTCALCBVAL-83202",
        "dicom_seg_dcmqi/segmentations/23x38x3/image",
        PADDED,
        "totalseg_ct_mr/example_ct_dicom",
    ],
)
def test_the_same_as_dcm2niix(test_data, tmp_path, name):
    # Exposure differs within the CT of 20 slices, by which dcm2niix would tear it apart.
    merge = ("-m", "y") if name.startswith("totalseg") else ()
    theirs = converted(test_data / name, tmp_path, *merge)
    ours = [read_series(series) for series in scan_dicom(test_data / name).series]
    assert len(theirs) == len(ours) > 0
    for volume, other in zip(ours, theirs, strict=True):
        compare(volume, other, padded=name == PADDED)


def test_a_missing_slice_beside_dcm2niix(test_data, tmp_path):
    """It warns and closes the gap; the slices that are there are the same, and lie elsewhere."""
    folder = test_data / "dicom_mr_prostatex_missing_slice"
    (theirs,) = converted(folder, tmp_path)
    with pytest.raises(DataError, match="missing slices"):
        read_dicom(folder)
    volume = read_dicom(folder, irregular="resample")
    (gap,) = volume.header.gaps
    whole = read_dicom(test_data / PROSTATE / "8.000000-ep2ddifftraDYNDISTCALCBVAL-83202")
    assert volume.same_grid(whole)
    kept = [index for index in range(19) if index != gap]
    assert np.array_equal(volume.stored[:, :, kept], whole.stored[:, :, kept])
    present = Volume(np.asarray(volume.data[:, :, kept], np.float64), volume.affine_mm)
    assert np.array_equal(reorient(present).stored, reorient(theirs).stored)


@pytest.mark.parametrize("name", ["dicom_ct_tilt_phantom", "dicom_awkward_noise/gantrytilting/001"])
def test_gantry_tilt_by_the_headers_and_the_voxels_of_dcm2niix(test_data, tmp_path, name):
    from pydicom import dcmread

    volume = read_dicom(test_data / name)
    for index, frame in enumerate(volume.header.frames):
        header = dcmread(frame.path, stop_before_pixels=True)
        assert np.allclose(
            (volume.affine_mm @ (0, 0, index, 1))[:3] * (-1, -1, 1), header.ImagePositionPatient, atol=1e-3
        )
    (theirs,) = converted(test_data / name, tmp_path)
    assert np.array_equal(reorient(volume).data, reorient(theirs).data)


@pytest.mark.parametrize(
    "name",
    [
        *(f"dicom_awkward_noise/compressed_{kind}/001" for kind in ("j2k", "jpeg", "jpegls", "rle")),
        "dicom_awkward_noise/002_non_isotropic",
        "dicom_enhanced_noise/hyperfine/001",
        "dicom_mr_pgbm003/11-T1post-18670",
        f"{PROSTATE}/4.000000-t2tsetra-00702",
        f"{PROSTATE}/7.000000-ep2ddifftraDYNDISTADC-48780",
        "dicom_seg_dcmqi/segmentations/24x38x3/image",
        "totalseg_ct_mr/example_ct_dicom",
    ],
)
def test_the_same_as_simpleitk(test_data, name):
    sitk = pytest.importorskip("SimpleITK")
    volume = read_dicom(test_data / name)
    files = list(dict.fromkeys(str(frame.path) for frame in volume.header.frames))
    if len(files) == 1:
        image = sitk.ReadImage(files[0])
    else:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(files)
        image = reader.Execute()
    lps = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    lps[:3, :3], lps[:3, 3] = directions * image.GetSpacing(), image.GetOrigin()
    other = Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.diag((-1.0, -1.0, 1.0, 1.0)) @ lps)
    compare(volume, other)


def test_legacy_converted_is_the_series_that_it_was_made_of(test_data):
    for name in ("23x38x3", "24x38x3"):
        folder = test_data / "dicom_seg_dcmqi" / "segmentations" / name
        classic, converted_ = read_dicom(folder / "image"), read_dicom(folder / "multiframe")
        assert np.array_equal(classic.stored, converted_.stored)
        assert classic.same_grid(converted_)
        assert [frame.frame_number for frame in converted_.header.frames] != [None] * 3
