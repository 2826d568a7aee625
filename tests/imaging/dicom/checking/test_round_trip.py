"""The round-trip check: planted faults are refused by name, and what is right is not."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.dicom import checking
from cmc_sdk.imaging.dicom.writing import segmentation, structure_set
from cmc_sdk.imaging.dicom.writing.segmentation import write_segmentation
from cmc_sdk.imaging.dicom.writing.structure_set import write_structure_set
from cmc_sdk.imaging.volume import Volume
from tests.imaging.dicom.labelled import ALGORITHM, CLASSES, SPEC, labelled

PLACE = Path(checking.__file__).parent
INDEPENDENT = ("round_trip", "comparison", "index_maps", "raster", "read_back", "source_planes")


def write(kind, labels, path):
    if kind == "rtstruct":
        write_structure_set(labels, path=path, classes=CLASSES, algorithm=ALGORITHM)
    else:
        write_segmentation(labels, path=path, classes=CLASSES, algorithm=ALGORITHM, kind=kind)


def plant(monkeypatch, kind, *, array=None, dataset=None):
    """Make the writer build its object from other labels, or change the object before it is saved."""
    module = structure_set if kind == "rtstruct" else segmentation
    build = module._build

    def faulty(labels, **given):
        built = build(labels if array is None else labels.with_array(array(labels.stored)), **given)
        if dataset is not None:
            dataset(built)
        return built

    monkeypatch.setattr(module, "_build", faulty)


def refused(kind, labels, folder, match):
    path = folder / "out.dcm"
    with pytest.raises(GeometryError, match=match) as caught:
        write(kind, labels, path)
    assert "was not written" in str(caught.value)
    assert [item.name for item in folder.iterdir()] == ["scan"]


def off_by_one(stored):
    return np.concatenate([np.zeros_like(stored[:, :, :1]), stored[:, :, :-1]], axis=2)


# A label map differs from a binary object in how its pixels are read alone.
KINDS = pytest.mark.parametrize("kind", ["binary", pytest.param("labelmap", marks=pytest.mark.slow), "rtstruct"])


@KINDS
@pytest.mark.parametrize(
    ("array", "match"),
    [
        (lambda stored: stored[:, ::-1], "is mirrored anterior-posterior"),
        (lambda stored: stored[::-1], "is mirrored left-right"),
        (lambda stored: stored[:, :, ::-1], "is mirrored superior-inferior"),
        (off_by_one, "is off by one slice"),
        (lambda stored: stored[:, :, [0, 2, 1, 3, 5, 4, 6, 7, 8]], "its frames are shuffled"),
        (lambda stored: stored[::-1, ::-1], "is turned by 180° in the plane"),
        (lambda stored: np.roll(stored, 1, axis=0), "is off by one column"),
    ],
)
def test_a_fault_in_the_voxels_is_refused_by_name(kind, array, match, tmp_path, monkeypatch):
    labels = labelled(tmp_path / "scan")
    plant(monkeypatch, kind, array=array)
    refused(kind, labels, tmp_path, match)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_swapped_spacing_is_refused_by_name(kind, tmp_path, monkeypatch):
    def swap(dataset):
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.PixelSpacing = measures.PixelSpacing[::-1]

    labels = labelled(tmp_path / "scan")
    plant(monkeypatch, kind, dataset=swap)
    refused(kind, labels, tmp_path, "row and column spacing swapped")


def test_swapped_spacing_of_contours_is_refused_by_name(tmp_path, monkeypatch):
    planes_of = structure_set.planes_of

    def swapped(volume):
        planes = planes_of(volume)
        ratio = planes.pixel_spacing_mm[0] / planes.pixel_spacing_mm[1]
        return replace(planes, matrix_mm=planes.matrix_mm * (ratio, 1 / ratio, 1, 1))

    labels = labelled(tmp_path / "scan")
    monkeypatch.setattr(structure_set, "planes_of", swapped)
    refused("rtstruct", labels, tmp_path, "row and column spacing swapped")


def test_a_transposed_square_slice_is_refused_by_name(tmp_path, monkeypatch):
    labels = labelled(tmp_path / "scan", replace(SPEC, size_vox=(19, 19, 9)))
    plant(monkeypatch, "binary", array=lambda stored: stored.transpose(1, 0, 2))
    refused("binary", labels, tmp_path, "is transposed")


@pytest.mark.parametrize(
    ("axis", "match"), [(0, "mirrored left-right"), (1, "mirrored anterior-posterior"), (2, "off by one slice")]
)
def test_a_fault_in_the_positions_is_refused_by_name(axis, match, tmp_path, monkeypatch):
    """Patient coordinates negated, as where RAS is taken for LPS; or every plane a slice on."""

    def displace(dataset):
        places = [item.PlanePositionSequence[0] for item in dataset.PerFrameFunctionalGroupsSequence]
        for place in {id(place): place for place in places}.values():  # segments share them
            position = [float(value) for value in place.ImagePositionPatient]
            position[axis] = position[axis] + 3.0 if axis == 2 else -position[axis]
            place.ImagePositionPatient = position
        orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        cosines = [float(value) for value in orientation.ImageOrientationPatient]
        if axis < 2:
            cosines[axis], cosines[3 + axis] = -cosines[axis], -cosines[3 + axis]
        orientation.ImageOrientationPatient = cosines

    labels = labelled(tmp_path / "scan")
    plant(monkeypatch, "binary", dataset=displace)
    refused("binary", labels, tmp_path, match)


@pytest.mark.parametrize(("step", "match"), [(1, "is off by one slice"), (0, "frames shuffled")])
@KINDS
def test_references_to_other_frames_are_refused_by_name(kind, step, match, tmp_path, monkeypatch):
    """Voxels and positions are right, and each frame names another slice's instance as its source."""
    labels = labelled(tmp_path / "scan")
    frames = labels.header.frames
    wrong = (*frames[1:], frames[-1]) if step else tuple(frames[k] for k in (0, 2, 1, 3, 5, 4, 6, 7, 8))
    module = structure_set if kind == "rtstruct" else segmentation
    build = module._build
    monkeypatch.setattr(
        module, "_build", lambda given, *, source, **other: build(given, source=replace(source, frames=wrong), **other)
    )
    refused(kind, labels, tmp_path, match)


@KINDS
@pytest.mark.parametrize(("axis", "match"), [(0, "mirrored left-right"), (2, "slice")])
def test_a_volume_that_was_read_wrongly_is_refused(kind, axis, match, tmp_path):
    """The affine itself is at fault: the scanner's own files say so."""
    labels = labelled(tmp_path / "scan")
    affine = labels.affine_mm.copy()
    if axis == 0:
        affine[:3, 3] += affine[:3, 0] * (labels.size_vox[0] - 1)
        affine[:3, 0] *= -1
    else:
        affine[:3, 3] += affine[:3, 2]
    refused(kind, Volume(labels.stored, affine, header=labels.header), tmp_path, f"{match}.* against its source")


@KINDS
def test_symmetric_labels_are_written_since_the_references_tell(kind, tmp_path):
    labels = labelled(tmp_path / "scan")
    even = np.zeros_like(labels.stored)
    even[4:-4, 4:-4, 3:-3] = 1
    write(kind, labels.with_array(even), tmp_path / "out.dcm")
    assert (tmp_path / "out.dcm").is_file()


@KINDS
def test_symmetric_labels_without_references_are_refused(kind, tmp_path):
    labels = labelled(tmp_path / "scan")
    even = np.zeros_like(labels.stored)
    even[4:-4, 4:-4, 3:-3] = 1
    orphan = replace(labels.header, frames=(None,) * labels.size_vox[2])
    refused(
        kind, Volume(even, labels.affine_mm, header=orphan), tmp_path, "fit as well if they are mirrored left-right"
    )
    write(kind, Volume(labels.stored, labels.affine_mm, header=orphan), tmp_path / "out.dcm")  # lopsided ones are
    assert (tmp_path / "out.dcm").is_file()


@KINDS
def test_labels_in_the_middle_slice_alone_are_written(kind, tmp_path):
    """Turning the stack over leaves that slice where it is, so its frame cannot tell, and need not."""
    labels = labelled(tmp_path / "scan")
    middle = np.zeros_like(labels.stored)
    middle[3:6, 2:9, 4] = 1
    write(kind, labels.with_array(middle), tmp_path / "out.dcm")
    assert (tmp_path / "out.dcm").is_file()


def test_contours_off_by_a_pixel_within_the_tolerance_are_refused(tmp_path, monkeypatch):
    """A shift by one pixel differs only within one pixel of a boundary, and must not pass for rounding."""
    labels = labelled(tmp_path / "scan")
    plain = np.zeros_like(labels.stored)
    plain[4:9, 4:9, 2:5] = 1
    plant(monkeypatch, "rtstruct", array=lambda stored: np.roll(stored, 1, axis=1))
    refused("rtstruct", labels.with_array(plain), tmp_path, "is off by one row")


def test_contours_without_a_hole_are_refused(tmp_path, monkeypatch):
    labels = labelled(tmp_path / "scan")

    def fill(stored):
        filled = stored.copy()
        filled[4:7, 5:8, 3] = 1
        return filled

    plant(monkeypatch, "rtstruct", array=fill)
    refused("rtstruct", labels, tmp_path, "differs from the labels in 8 voxels")


def test_the_check_shares_no_function_with_the_writers():
    for name in INDEPENDENT:
        for node in ast.walk(ast.parse((PLACE / f"{name}.py").read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                own = module.startswith("cmc_sdk.imaging.dicom.")
                assert not own or module.split(".")[-1] in {*INDEPENDENT, "source"}, f"{name} imports {module}"
                assert not re.match("highdicom|contourpy", module), f"{name} imports {module}"
