"""Programs that we did not write read what was written: dciodvfy, dcmqi, highdicom, SimpleITK."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest

from cmc_sdk.imaging.dicom.writing.measurement_report import write_measurement_report
from cmc_sdk.imaging.dicom.writing.segmentation import write_segmentation
from cmc_sdk.imaging.dicom.writing.structure_set import write_structure_set
from tests.imaging.dicom.labelled import ALGORITHM, CLASSES, SPEC, labelled
from tests.imaging.grids import rotation

OTHERS = [("CT", False), ("PT", False), ("CT", True), ("MR", True), ("PT", True)]
OBLIQUE = replace(SPEC, turn=rotation((0.3, -0.2, 0.1)))


def write(kind, labels, path):
    given = {"classes": CLASSES, "algorithm": ALGORITHM, "record": {"backend": "none"}}
    if kind == "rtstruct":
        write_structure_set(labels, path=path, **given)
    elif kind.startswith("sr"):
        seg = path.with_name("seg.dcm")
        write_segmentation(labels, path=seg, **given)
        counts = np.bincount(labels.stored.ravel(), minlength=4) * labels.voxel_volume_ml
        volumes = {item.name: float(counts[item.index]) for item in CLASSES.classes}
        segmentation = seg if kind == "sr" else None
        write_measurement_report(labels, path=path, volumes_ml=volumes, segmentation=segmentation, **given)
    else:
        write_segmentation(labels, path=path, kind=kind, **given)


@pytest.mark.parametrize(
    ("modality", "multi_frame"),
    [("MR", False), *(pytest.param(*case, marks=pytest.mark.slow) for case in OTHERS)],
)
@pytest.mark.parametrize("kind", ["binary", "rtstruct", "sr", "sr without seg"])
def test_dciodvfy_finds_no_error(kind, multi_frame, modality, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    labels = labelled(tmp_path / "scan", replace(SPEC, multi_frame=multi_frame, modality=modality))
    write(kind, labels, tmp_path / "out.dcm")
    done = subprocess.run(["dciodvfy", str(tmp_path / "out.dcm")], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert any(line in {"Segmentation", "RTStructureSet", "Comprehensive3DSR"} for line in said), said
    assert [line for line in said if line.startswith("Error")] == []


@pytest.mark.parametrize(
    "spec", [SPEC, OBLIQUE, replace(OBLIQUE, multi_frame=True)], ids=["axial", "oblique", "enhanced"]
)
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_highdicom_reads_the_same_labels(kind, spec, tmp_path):
    labels = labelled(tmp_path / "scan", spec)
    write(kind, labels, tmp_path / "out.dcm")
    seen = highdicom.seg.segread(tmp_path / "out.dcm").get_volume(combine_segments=True, allow_missing_positions=True)
    held = seen.array.astype(np.uint8)  # its axes: slice, row, column; its affine leads to LPS
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ labels.affine_mm
    places = np.argwhere(held > 0)
    where = places @ seen.affine[:3, :3].T + seen.affine[:3, 3]
    index = (where - lps[:3, 3]) @ np.linalg.inv(lps[:3, :3]).T
    assert np.abs(index - np.rint(index)).max() < 1e-3
    again = np.zeros_like(labels.stored)
    again[tuple(np.rint(index).astype(int).T)] = held[tuple(places.T)]
    assert np.array_equal(again, labels.stored)


@pytest.mark.parametrize("spec", [SPEC, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_dcmqi_reads_the_same_labels(kind, spec, tmp_path):
    program = Path(sys.executable).with_name("segimage2itkimage")
    if not program.exists():
        pytest.skip("dcmqi is not installed")
    labels = labelled(tmp_path / "scan", spec)
    write(kind, labels, tmp_path / "out.dcm")
    subprocess.run(
        [program, "--inputDICOM", tmp_path / "out.dcm", "--outputDirectory", tmp_path, "--prefix", "seen",
         "--outputType", "nii", "--mergeSegments"],
        check=True, capture_output=True,
    )  # fmt: skip
    seen = nibabel.load(tmp_path / "seen-1.nii.gz")
    held = np.asarray(seen.dataobj)
    places = np.argwhere(held > 0)
    where = places @ seen.affine[:3, :3].T + seen.affine[:3, 3]
    index = (where - labels.affine_mm[:3, 3]) @ np.linalg.inv(labels.affine_mm[:3, :3]).T
    assert np.abs(index - np.rint(index)).max() < 0.01
    again = np.zeros_like(labels.stored)
    again[tuple(np.rint(index).astype(int).T)] = held[tuple(places.T)]
    assert np.array_equal(again, labels.stored)
    segments = json.loads((tmp_path / "seen-meta.json").read_text())["segmentAttributes"]
    said = {item["SegmentLabel"]: item["recommendedDisplayRGBValue"] for group in segments for item in group}
    for item in CLASSES.classes[:2]:
        assert np.abs(np.subtract(said[item.name], item.color)).max() <= 2


def test_dcmqi_reads_the_volumes(tmp_path):
    program = Path(sys.executable).with_name("tid1500reader")
    if not program.exists():
        pytest.skip("dcmqi is not installed")
    labels = labelled(tmp_path / "scan")
    write("sr", labels, tmp_path / "sr.dcm")
    said = tmp_path / "said.json"
    subprocess.run([program, "--inputDICOM", tmp_path / "sr.dcm", "--outputMetadata", said], check=True)
    groups = json.loads(said.read_text())["Measurements"]
    counts = np.bincount(labels.stored.ravel(), minlength=4) * labels.voxel_volume_ml
    for item in CLASSES.classes:
        group = next(group for group in groups if group["TrackingIdentifier"] == item.name)
        assert float(group["measurementItems"][0]["value"]) == pytest.approx(counts[item.index])
        assert group["ReferencedSegment"] == item.index
        assert group["segmentationSOPInstanceUID"] == pydicom.dcmread(tmp_path / "seg.dcm").SOPInstanceUID


def test_simpleitk_reads_the_same_frames(tmp_path):
    """Its reader knows BINARY only: the storage class of label maps is newer."""
    sitk = pytest.importorskip("SimpleITK")
    labels = labelled(tmp_path / "scan")
    write("binary", labels, tmp_path / "out.dcm")
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.dcm")))
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ labels.affine_mm
    again = np.zeros_like(labels.stored)
    for pixels, item in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        corner = [float(value) for value in item.PlanePositionSequence[0].ImagePositionPatient]
        k = round(float(np.linalg.solve(lps, [*corner, 1.0])[2]))
        again[:, :, k][pixels.T > 0] = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    assert np.array_equal(again, labels.stored)
