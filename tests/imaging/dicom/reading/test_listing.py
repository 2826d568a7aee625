"""Files, folders, DICOMDIR and zip: what is opened, and what is not."""

from __future__ import annotations

import gc
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.read_series import read_dicom
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from tests.imaging.dicom.series import SeriesSpec, write_series


@pytest.fixture
def written(tmp_path):
    return write_series(tmp_path / "ct", SeriesSpec())


def pack(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"patient name/{file.name}")
    return path


def test_a_zip_holds_what_its_files_hold_and_leaves_nothing_behind(tmp_path, written):
    volume = read_dicom(pack(tmp_path / "ct.zip", written.paths))
    assert np.array_equal(volume.stored, written.voxels)
    folder = volume.header.frames[0].path.parent
    assert folder.is_dir()  # as long as the volume lives, so that its frames can be opened
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    del volume
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../out.dcm", "/tmp/out.dcm", "a/../../out.dcm", "..\\out.dcm", "C:\\out.dcm"])
def test_a_zip_with_a_path_outside_is_refused_whole(tmp_path, written, name):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), written.paths[0].read_bytes())
    with pytest.raises(DataError, match="leads out of it"):
        scan_dicom(path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["ct", "evil.zip"]


def test_a_zip_with_a_link_or_a_secret_is_refused(tmp_path):
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="holds a link"):
        scan_dicom(tmp_path / "link.zip")
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("a.dcm", b"x" * 100)
    data = bytearray((tmp_path / "plain.zip").read_bytes())
    for head in (b"PK\x03\x04", b"PK\x01\x02"):
        data[data.find(head) + (6 if head[2] == 3 else 8)] |= 1
    (tmp_path / "secret.zip").write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        scan_dicom(tmp_path / "secret.zip")


def test_a_zip_over_a_limit_is_refused_before_it_is_unpacked(tmp_path, written, monkeypatch):
    path = pack(tmp_path / "ct.zip", written.paths)
    with pytest.raises(DataError, match="more than is allowed"):
        scan_dicom(path, limits=DicomLimits(max_unpacked_bytes=1000))
    with pytest.raises(DataError, match="more than 3 files"):
        scan_dicom(path, limits=DicomLimits(max_files=3))
    monkeypatch.setattr("cmc_sdk.imaging.dicom.reading.listing._FREE_RATIO_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(2 << 20))
    with pytest.raises(DataError, match="times its size"):
        scan_dicom(tmp_path / "bomb.zip")


def test_a_zip_that_lies_or_is_damaged_is_refused(tmp_path, written):
    data = bytearray(pack(tmp_path / "ct.zip", written.paths).read_bytes())
    data[len(data) // 3] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(DataError, match="cannot be unpacked"):
        scan_dicom(tmp_path / "damaged.zip")
    (tmp_path / "half.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be unpacked"):
        scan_dicom(tmp_path / "half.zip")


def test_links_out_of_the_folder_are_not_followed(tmp_path, written):
    outside = write_series(tmp_path / "outside", SeriesSpec(seed=9))
    for index, path in enumerate(outside.paths):
        os.symlink(path, tmp_path / "ct" / f"link{index}")
    os.symlink(tmp_path / "outside", tmp_path / "ct" / "folder")
    os.symlink(written.paths[0], tmp_path / "ct" / "inside")
    os.symlink(tmp_path / "nowhere", tmp_path / "ct" / "broken")
    scan = scan_dicom(tmp_path / "ct")
    assert len(scan.series) == 1
    (refusal,) = scan.refused
    assert (refusal.name, refusal.files) == ("link out of the folder", len(outside.paths) + 1)


def test_a_dicomdir_means_the_files_that_it_lists(tmp_path, written):
    files = FileSet()
    for path in written.paths:
        files.add(path)
    files.write(tmp_path / "medium")
    extra = write_series(tmp_path / "medium" / "extra", SeriesSpec(seed=3))
    assert extra.paths
    scan = scan_dicom(tmp_path / "medium" / "DICOMDIR")
    assert len(scan.series) == 1
    assert len(scan_dicom(tmp_path / "medium").series) == 2
    assert np.array_equal(read_dicom(tmp_path / "medium" / "DICOMDIR").stored, written.voxels)


@pytest.mark.parametrize("parts", [["..", "secret"], ["SUB", "..", "..", "secret"], ["/etc", "passwd"]])
def test_a_dicomdir_that_leads_outside_is_refused(tmp_path, written, parts):
    files = FileSet()
    for path in written.paths:
        files.add(path)
    files.write(tmp_path / "medium")
    dataset = dcmread(tmp_path / "medium" / "DICOMDIR")
    for record in dataset.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record.ReferencedFileID = parts
    dataset.save_as(tmp_path / "medium" / "DICOMDIR")
    with pytest.raises(DataError, match="lists a file outside its folder"):
        scan_dicom(tmp_path / "medium" / "DICOMDIR")


def test_what_is_not_dicom_is_counted(tmp_path, written):
    (tmp_path / "ct" / "notes.txt").write_text("hello")
    (tmp_path / "ct" / "empty").write_bytes(b"")
    scan = scan_dicom(tmp_path / "ct")
    assert len(scan.series) == 1
    (refusal,) = scan.refused
    assert (refusal.name, refusal.files) == ("not DICOM", 2)
    assert scan.files == len(written.paths) + 2


def test_a_file_without_a_preamble_is_read(tmp_path, written):
    for path in written.paths:
        data = path.read_bytes()
        path.write_bytes(data[data.find(b"\x08\0\x08\0CS") :])
    # explicit little endian without a header that says so: pydicom sees it by the first element
    assert np.array_equal(read_dicom(tmp_path / "ct").stored, written.voxels)


def test_nowhere_a_single_file_and_a_progress_that_ends(tmp_path, written):
    with pytest.raises(DataError, match="does not exist"):
        scan_dicom(tmp_path / "nowhere")
    with pytest.raises(DataError, match="too few slices"):
        read_dicom(written.paths[0])
    seen = []
    scan_dicom(tmp_path / "ct", progress=lambda *words: seen.append(words))
    assert seen[-1] == ("scan", 5, 5)
    assert isinstance(scan_dicom(tmp_path / "ct").series[0].frames[0].path, Path)
