"""Stacks that are no plain stack: gaps, variable spacing, duplicates, several orientations, impossible geometry."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.read_series import read_dicom, read_series
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from cmc_sdk.imaging.dicom.refusal import DicomError
from tests.imaging.dicom.series import SeriesSpec, write_series
from tests.imaging.grids import rotation

OBLIQUE = SeriesSpec(turn=rotation((0.2, -0.3, 0.1)), spacing_mm=(0.8, 1.2, 2.5), shift_mm=(0.0, 0.6))


def change(path, **values):
    dataset = dcmread(path)
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return dataset


def refusals(folder, **limits):
    scan = scan_dicom(folder, limits=DicomLimits(**limits))
    assert not scan.series
    for item in scan.refused:
        assert "\n" not in str(item)
        assert item.mend
    return [item.name for item in scan.refused]


@pytest.mark.parametrize("multi_frame", [False, True])
def test_a_missing_slice_is_refused_or_interpolated_and_marked(tmp_path, multi_frame):
    spec = replace(OBLIQUE, places=(0, 1, 3, 4, 5), multi_frame=multi_frame)
    written = write_series(tmp_path / "gap", spec)
    with pytest.raises(DicomError, match=r"missing slices: .*1 of 6 slices are missing \(from below: 3\).*--irregular"):
        read_dicom(tmp_path / "gap")
    volume = read_dicom(tmp_path / "gap", irregular="resample")
    assert volume.size_vox == (7, 6, 6)
    assert np.allclose(volume.affine_mm, spec.affine_mm, atol=1e-6)
    assert volume.header.gaps == {2}
    assert [frame is None for frame in volume.header.frames] == [False, False, True, False, False, False]
    assert np.array_equal(np.delete(volume.stored, 2, axis=2), written.voxels)
    between = np.rint((written.voxels[:, :, 1].astype(float) + written.voxels[:, :, 2]) / 2)
    assert np.array_equal(volume.stored[:, :, 2], between)


def test_variable_spacing_is_refused_or_resampled_to_the_common_step(tmp_path):
    spec = replace(OBLIQUE, size_vox=(7, 6, 6), places=(0, 1, 2, 3.4, 4.4, 5.0))
    voxels = np.broadcast_to(np.array(spec.places) * 100, (7, 6, 6)).astype(np.int16)
    written = write_series(tmp_path / "uneven", spec, voxels=voxels)
    with pytest.raises(DicomError, match=r"variable spacing: .*between 1.5 and 3.5 mm apart"):
        read_dicom(tmp_path / "uneven")
    volume = read_dicom(tmp_path / "uneven", irregular="resample")
    assert np.allclose(volume.affine_mm, spec.affine_mm, atol=1e-6)  # 0 … 5 in steps of one: the median
    assert np.allclose(volume.stored[0, 0], np.arange(6) * 100, atol=1)  # a ramp stays a ramp
    kept = [frame is not None for frame in volume.header.frames]
    assert kept == [True, True, True, False, False, True]
    assert np.array_equal(volume.stored[:, :, 1], written.voxels[:, :, 1])
    assert volume.header.gaps == set()  # no place is farther than a step and a half from its neighbours


def test_positions_rounded_to_tenths_are_even_and_said_so(tmp_path):
    spec = SeriesSpec(size_vox=(4, 4, 9), spacing_mm=(1.0, 1.0, 1.25))
    written = write_series(tmp_path / "rounded", spec)
    for path in written.paths:
        position = dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[float(position[0]), float(position[1]), round(float(position[2]), 1)])
    volume = read_dicom(tmp_path / "rounded")
    assert np.allclose(volume.affine_mm, spec.affine_mm, atol=0.01)
    assert any("off an even spacing" in note for note in volume.notes)


def test_gantry_tilt_is_kept_as_shear(tmp_path):
    spec = SeriesSpec(spacing_mm=(0.5, 0.5, 5.0), shift_mm=(0.0, 1.5))
    write_series(tmp_path / "tilt", spec)
    volume = read_dicom(tmp_path / "tilt")
    assert np.allclose(volume.affine_mm, spec.affine_mm, atol=1e-6)
    directions = volume.affine_mm[:3, :3] / np.array(volume.spacing_mm)
    assert abs(directions[:, 1] @ directions[:, 2]) > 0.2
    assert any("sheared by 16.7°" in note for note in volume.notes)


def test_identical_duplicates_are_dropped_with_a_note(tmp_path):
    written = write_series(tmp_path / "twice", SeriesSpec())
    shutil.copy(written.paths[1], tmp_path / "twice" / "copy.dcm")
    change(tmp_path / "twice" / "copy.dcm", SOPInstanceUID=generate_uid(), InstanceNumber=99)
    volume = read_dicom(tmp_path / "twice")
    assert np.array_equal(volume.stored, written.voxels)
    assert any("1 identical duplicate" in note for note in volume.notes)


def test_different_duplicates_are_refused(tmp_path):
    written = write_series(tmp_path / "twice", SeriesSpec())
    shutil.copy(written.paths[1], tmp_path / "twice" / "other.dcm")
    dataset = dcmread(written.paths[1])
    change(tmp_path / "twice" / "other.dcm", PixelData=dataset.PixelData[::-1], SOPInstanceUID=generate_uid())
    assert refusals(tmp_path / "twice") == ["duplicates"]


def test_two_orientations_come_apart(tmp_path):
    axial = write_series(tmp_path / "both", SeriesSpec(seed=1))
    coronal = SeriesSpec(seed=2, turn=np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]).T)
    other = write_series(tmp_path / "other", coronal)
    for index, path in enumerate(other.paths):
        change(path, SeriesInstanceUID=dcmread(axial.paths[0]).SeriesInstanceUID)
        shutil.move(path, tmp_path / "both" / f"z{index}.dcm")
    scan = scan_dicom(tmp_path / "both")
    assert sorted(volume.name for volume in scan.series) == ["axial", "coronal"]
    for volume in scan.series:
        truth = axial if volume.name == "axial" else other
        assert np.array_equal(read_series(volume).stored, truth.voxels)
    with pytest.raises(DataError, match=r"holds 2 volumes: .*axial.*coronal.*say which is meant"):
        read_dicom(tmp_path / "both")
    assert np.array_equal(read_dicom(tmp_path / "both", series="3:coronal").stored, other.voxels)


def test_a_stranger_and_another_frame_of_reference_never_mix(tmp_path):
    written = write_series(tmp_path / "mixed", SeriesSpec(size_vox=(4, 4, 6)))
    for path in written.paths[3:]:
        change(path, PatientID="somebody else")
    scan = scan_dicom(tmp_path / "mixed")
    assert [volume.size_vox[2] for volume in scan.series] == [3, 3]
    assert len({volume.patient_key for volume in scan.series}) == 2
    assert all("somebody" not in repr(volume) for volume in scan.series)
    elsewhere = generate_uid()
    for path in written.paths[3:]:
        change(path, PatientID="test-1", FrameOfReferenceUID=elsewhere)
    names = [volume.name for volume in scan_dicom(tmp_path / "mixed").series]
    assert names == ["frame of reference 1", "frame of reference 2"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"ImageOrientationPatient": ["nan", "0", "0", "0", "1", "0"]}, "directions"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.2, 1, 0]}, "directions"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "directions"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "directions"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]}, "directions"),
        ({"ImagePositionPatient": ["inf", "0", "0"]}, "directions"),
        ({"ImagePositionPatient": None}, "no geometry"),
        ({"ImageOrientationPatient": None}, "no geometry"),
        ({"PixelSpacing": None}, "no geometry"),
        ({"PixelSpacing": [0, 1]}, "pixel spacing"),
        ({"PixelSpacing": ["nan", "1"]}, "pixel spacing"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "not an image volume"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.3"}, "colour"),
        ({"RescaleSlope": "0"}, "rescale"),
        ({"RescaleSlope": "nan"}, "rescale"),
        ({"RescaleIntercept": None}, "rescale"),
        ({"BitsAllocated": 12}, "pixel format"),
        ({"HighBit": 13}, "pixel format"),
        ({"Rows": 60000, "Columns": 60000}, "damaged"),
        ({"Rows": 0}, "no pixels"),
        ({"PixelData": None}, "no pixels"),
        ({"NumberOfFrames": 3}, "damaged"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(tmp_path, values, name):
    written = write_series(tmp_path / "bad", SeriesSpec())
    for path in written.paths:
        change(path, **values)
    assert refusals(tmp_path / "bad") == [name]
    with pytest.raises(DataError, match=name):
        read_dicom(tmp_path / "bad")


def test_slices_beside_one_line_and_in_one_plane_are_no_stack(tmp_path):
    written = write_series(tmp_path / "bent", SeriesSpec())
    position = dcmread(written.paths[2]).ImagePositionPatient
    change(written.paths[2], ImagePositionPatient=[float(position[0]) + 1.5, float(position[1]), float(position[2])])
    assert refusals(tmp_path / "bent") == ["not one stack"]
    change(written.paths[2], ImagePositionPatient=[99, 0, float(dcmread(written.paths[1]).ImagePositionPatient[2])])
    assert refusals(tmp_path / "bent") == ["not one stack"]


def test_too_few_slices_and_too_many_bytes(tmp_path):
    write_series(tmp_path / "two", SeriesSpec(size_vox=(5, 5, 2)))
    assert refusals(tmp_path / "two") == ["too few slices"]
    write_series(tmp_path / "five", SeriesSpec())
    assert refusals(tmp_path / "five", max_volume_bytes=400) == ["too large"]


def test_more_missing_than_present_is_no_stack(tmp_path):
    write_series(tmp_path / "far", SeriesSpec(size_vox=(5, 5, 4), places=(0, 1, 2, 40)))
    assert refusals(tmp_path / "far") == ["not one stack"]


def test_a_file_that_changed_after_the_scan_is_not_read(tmp_path):
    written = write_series(tmp_path / "moving", SeriesSpec())
    (series,) = scan_dicom(tmp_path / "moving").series
    with open(written.paths[0], "ab") as handle:
        handle.write(b"\0\0")
    with pytest.raises(DicomError, match="changed since it was scanned"):
        read_series(series)
