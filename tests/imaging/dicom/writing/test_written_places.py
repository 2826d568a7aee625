"""A marker at a known place in the patient is found there after in → label → SEG, RTSTRUCT → out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_sdk.imaging.dicom.reading.read_series import read_dicom
from cmc_sdk.imaging.dicom.writing.segmentation import write_segmentation
from cmc_sdk.imaging.dicom.writing.structure_set import write_structure_set
from tests.imaging.dicom.labelled import ALGORITHM, CLASSES
from tests.imaging.dicom.series import make_voxels, series_specs, write_series


def place_in_segmentation(path, segment):
    """Where highdicom puts the one voxel of a segment, in LPS mm, and the source frame that it names."""
    seen = highdicom.seg.segread(path)
    found = []
    shared = seen.SharedFunctionalGroupsSequence[0]
    frames = seen.pixel_array.reshape(-1, seen.Rows, seen.Columns)
    for frame, item in zip(frames, seen.PerFrameFunctionalGroupsSequence, strict=True):
        labelmap = seen.SegmentationType == "LABELMAP"
        if not labelmap:
            identification = (item if "SegmentIdentificationSequence" in item else shared).SegmentIdentificationSequence
            if identification[0].ReferencedSegmentNumber != segment:
                continue
        to_patient = highdicom.spatial.PixelToReferenceTransformer(
            image_position=item.PlanePositionSequence[0].ImagePositionPatient,
            image_orientation=shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            pixel_spacing=shared.PixelMeasuresSequence[0].PixelSpacing,
        )
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        for row, column in np.argwhere(frame == (segment if labelmap else 1)):
            where = to_patient(np.array([[column, row]]))[0]
            found.append((where, source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber")))
    assert len(found) == 1
    return found[0]


def place_in_structure_set(path, number):
    """The middle of the one contour of a region, in LPS mm, and the source frame that it names."""
    (contour,) = next(
        item for item in pydicom.dcmread(path).ROIContourSequence if item.ReferencedROINumber == number
    ).ContourSequence
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
    source = contour.ContourImageSequence[0]
    return points.mean(axis=0), source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber")


def check_marker(spec, voxel, kind, folder):
    i, j, k = (min(index, size - 1) for index, size in zip(voxel, spec.size_vox, strict=True))
    voxels = make_voxels(spec)
    voxels[i, j, k] = 3000
    write_series(folder / "scan", spec, voxels=voxels)
    scan = read_dicom(folder / "scan")
    # The "segmenter" knows nothing of DICOM: it marks the brightest voxel of the array.
    labels = scan.with_array((scan.stored == scan.stored.max()).astype(np.uint8) * 3)
    write_segmentation(labels, path=folder / "seg.dcm", classes=CLASSES, algorithm=ALGORITHM, kind=kind)
    write_structure_set(labels, path=folder / "rt.dcm", classes=CLASSES, algorithm=ALGORITHM)
    held = {}
    for file in (folder / "scan").iterdir():
        dataset = pydicom.dcmread(file)
        frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        for number, frame in enumerate(frames, start=1):
            held[dataset.SOPInstanceUID, number if spec.multi_frame else None] = frame
    for where, uid, number in (
        place_in_segmentation(folder / "seg.dcm", 3),
        place_in_structure_set(folder / "rt.dcm", 3),
    ):
        off = np.linalg.inv(np.stack([*spec.turn.T[:2] * np.array([spec.spacing_mm[:2]]).T, slice_step(spec)]).T) @ (
            where - spec.position_mm(i, j, k)
        )
        assert np.abs(off).max() < 0.5
        assert np.abs(where - spec.position_mm(i, j, k)).max() < 0.01
        assert held[uid, number][j, i] == 3000


def slice_step(spec):
    return spec.position_mm(0, 0, 1) - spec.position_mm(0, 0, 0)


CASES = {
    "spec": series_specs(),
    "voxel": st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 6)),
    "kind": st.sampled_from(["binary", "binary", "labelmap"]),
}
RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


@settings(max_examples=8, **RELAXED)
@given(**CASES)
def test_a_marker_comes_back_where_it_was_put(spec, voxel, kind):
    with tempfile.TemporaryDirectory() as folder:
        check_marker(spec, voxel, kind, Path(folder))


@pytest.mark.slow
@settings(max_examples=492, **RELAXED)
@given(**CASES)
def test_a_marker_comes_back_where_it_was_put_492_times_more(spec, voxel, kind):
    with tempfile.TemporaryDirectory() as folder:
        check_marker(spec, voxel, kind, Path(folder))
