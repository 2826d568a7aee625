"""One door for NIfTI and DICOM: what it gives, what is written from it, and labels on it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from cmc_sdk import write_volume
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.dicom.reading.read_series import choose, read_dicom
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from cmc_sdk.imaging.dicom.source import DicomSource
from cmc_sdk.imaging.read import read_volume
from cmc_sdk.runtime.segmenter import Segmenter
from tests.imaging.dicom.series import SeriesSpec, write_series
from tests.imaging.grids import rotation
from tests.runtime.stubs import StubBackend, blob_scan, make_spec

OBLIQUE = SeriesSpec(turn=rotation((0.2, -0.3, 0.1)), spacing_mm=(0.8, 1.2, 2.5))


def test_nifti_and_dicom_by_what_lies_there(tmp_path):
    written = write_series(tmp_path / "ct", OBLIQUE)
    from_folder = read_volume(tmp_path / "ct")
    write_volume(from_folder, tmp_path / "ct.nii.gz")
    with zipfile.ZipFile(tmp_path / "any name", "w") as archive:
        for path in written.paths:
            archive.write(path, path.name)
    for place in (tmp_path / "ct.nii.gz", tmp_path / "any name"):
        volume = read_volume(place)
        assert np.array_equal(volume.stored, written.voxels)
        assert volume.same_grid(from_folder)
    enhanced = write_series(tmp_path / "mf", replace(OBLIQUE, multi_frame=True))
    assert np.array_equal(read_volume(enhanced.paths[0]).stored, enhanced.voxels)
    assert read_volume(tmp_path / "ct", label=False).header.modality == "CT"


@pytest.mark.parametrize("tilt", [0.0, 1.0])
def test_a_dicom_volume_as_nifti_has_its_affine(tmp_path, tilt):
    spec = replace(OBLIQUE, shift_mm=(0.0, tilt), slope=2.0, intercept=-1024.0)
    written = write_series(tmp_path / "ct", spec)
    write_volume(read_volume(tmp_path / "ct"), tmp_path / "ct.nii")
    image = nib.load(tmp_path / "ct.nii")
    assert np.allclose(image.affine, spec.affine_mm, atol=1e-4)
    assert np.array_equal(image.get_fdata(), written.voxels * 2.0 - 1024)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0 if tilt else 1)
    assert b"Test" not in (tmp_path / "ct.nii").read_bytes()  # nothing of the patient's


def test_a_label_map_as_dicom(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 4, (7, 6, 5)).astype(np.int16)
    write_series(tmp_path / "label", SeriesSpec(modality="MR"), voxels=voxels)
    volume = read_volume(tmp_path / "label", label=True)
    assert volume.stored.dtype == np.uint8
    assert np.array_equal(volume.stored, voxels)


def test_what_is_chosen_and_what_is_listed(tmp_path):
    for number in (1, 2):
        spec = SeriesSpec(seed=number, extra={"SeriesNumber": number, "SeriesDescription": f"phase {number}"})
        write_series(tmp_path / "study" / str(number), spec)
    with pytest.raises(DataError, match=r"holds 2 volumes: 1 phase 1 \(CT, 7×6×5\), 2 phase 2 .*; say which"):
        read_dicom(tmp_path / "study")
    with pytest.raises(DataError, match=r"no volume '3', only 1 phase 1"):
        read_dicom(tmp_path / "study", series="3")
    scan = scan_dicom(tmp_path / "study")
    assert choose(scan, series="2").words.series_number == 2
    assert choose(scan, series=scan.series[0].series_instance_uid) is scan.series[0]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none holds no volume"):
        read_volume(tmp_path / "none")


def test_labels_of_a_folder_and_no_confidence_in_a_gap(tmp_path):
    size, places = (30, 28, 20), tuple(index for index in range(21) if index != 9)
    scan = blob_scan(np.diag([2.0, 2.0, 2.5, 1.0]), size, centre=(28, 26, 24))
    spec = SeriesSpec(
        size_vox=size, spacing_mm=(2.0, 2.0, 2.5), turn=np.diag([-1.0, -1.0, 1.0]), origin_mm=(0, 0, 0), places=places
    )
    write_series(tmp_path / "ct", spec, voxels=scan.stored)
    segmenter = Segmenter(make_spec(), StubBackend())
    with pytest.raises(DataError, match="missing slices"):
        segmenter.infer({"ct": tmp_path / "ct"})
    volume = read_volume(tmp_path / "ct", irregular="resample")
    result = segmenter.infer({"ct": volume})
    confidence = result.confidence["ct"].stored
    assert (confidence[:, :, 9] == 0).all()
    assert (confidence[:, :, 8] > 0).any()
    assert (confidence[:, :, 10] > 0).any()
    assert isinstance(result.labels["ct"].header, DicomSource)
    assert result.labels["ct"].header.gaps == {9}
    assert any("1 of 21 slices are missing" in warning for warning in result.record.warnings)
    assert str(tmp_path) not in str(result.record.to_dict())


def test_the_readers_import_no_pydicom_until_they_read():
    program = (
        "import sys; import cmc_sdk.runtime.session, cmc_sdk.imaging.read, cmc_sdk.imaging.dicom.reading.read_series; "
        "print([name for name in ('pydicom', 'gdcm', 'openjpeg', 'nibabel') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
