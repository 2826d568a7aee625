"""De-identification of real headers and real encodings: no value of a person, every pixel and every grid as it was."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from cmc_sdk.imaging.dicom.deidentify import anonymise_folder
from cmc_sdk.imaging.dicom.quiet import quiet_pydicom
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom

pytestmark = [pytest.mark.slow, pytest.mark.data]

FOLDERS = (
    "dicom_transfer_syntaxes",
    "dicom_awkward_noise",
    "dicom_enhanced_real",
    "dicom_mr_prostatex0000",
    "dicom_ct_tilt_phantom",
    "dicom_seg_highdicom",
)
PERSONAL = ("PatientName", "PatientID", "AccessionNumber", "InstitutionName", "SeriesDescription", "StudyInstanceUID")


def images(folder: Path) -> list[pydicom.FileDataset]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                dataset = pydicom.dcmread(path)
            except pydicom.errors.InvalidDicomError:
                continue
            if "PixelData" in dataset:
                found.append(dataset)
    return found


def pixels(dataset: pydicom.FileDataset) -> str:
    return hashlib.sha256(dataset.pixel_array.tobytes()).hexdigest()


@pytest.mark.parametrize("name", FOLDERS)
def test_pixels_and_grids_stay_and_persons_go(name: str, test_data: Path, tmp_path: Path) -> None:
    source, out = test_data / name, tmp_path / "out"
    report = anonymise_folder(source, out)
    assert report.files
    with quiet_pydicom():
        before, after = images(source), images(out)
        kept = Counter(map(pixels, after))
        assert kept <= Counter(map(pixels, before))
        assert sum(kept.values()) == report.files
    content = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    for dataset in before:
        for keyword in PERSONAL:
            value = str(dataset.get(keyword) or "")
            assert len(value) < 5 or value.encode() not in content, keyword
    if sum(report.left_out.values()) == 0:
        grids = [sorted(volume.affine_mm for volume in scan_dicom(folder).series) for folder in (source, out)]
        assert grids[0] == grids[1]
