"""Series made for tests with pydicom alone: any orientation, spacing, tilt, order of files, classic or Enhanced.

The grid that a series must come out on is computed here from the written numbers, without the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from tests.imaging.grids import AXIS_ORDERS, rotation, signed_permutation

CLASSES = {
    ("CT", False): "1.2.840.10008.5.1.4.1.1.2",
    ("MR", False): "1.2.840.10008.5.1.4.1.1.4",
    ("PT", False): "1.2.840.10008.5.1.4.1.1.128",
    ("CT", True): "1.2.840.10008.5.1.4.1.1.2.1",
    ("MR", True): "1.2.840.10008.5.1.4.1.1.4.1",
    ("PT", True): "1.2.840.10008.5.1.4.1.1.130",
}


@dataclass(frozen=True)
class SeriesSpec:
    """What to write.

    Args:
        size_vox: Columns, rows, slices.
        spacing_mm: Between columns, between rows, between slices along the normal.
        turn: (3, 3) rotation; its columns are the directions of a row, of a column, and the normal, in LPS.
        shift_mm: How far each slice lies beside the one before, along a row and along a column (gantry tilt).
        origin_mm: LPS position of the first pixel of the first slice.
        signed: Pixels are two's complement.
        slope: Of the rescale.
        intercept: Of the rescale.
        multi_frame: One Enhanced instance rather than one file a slice.
        seed: Of voxels, file order and UIDs.
        modality: CT, MR or PT.
        places: Slice positions in units of the spacing, where they are not 0, 1, 2, …
        extra: Attributes by keyword for every data set.
    """

    size_vox: tuple[int, int, int] = (7, 6, 5)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 2.0)
    turn: np.ndarray = field(default_factory=lambda: np.eye(3))
    shift_mm: tuple[float, float] = (0.0, 0.0)
    origin_mm: tuple[float, float, float] = (-10.0, 20.0, 30.0)
    signed: bool = True
    slope: float = 1.0
    intercept: float = 0.0
    multi_frame: bool = False
    seed: int = 0
    modality: str = "CT"
    places: tuple[float, ...] | None = None
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def slice_places(self) -> tuple[float, ...]:
        return self.places or tuple(range(self.size_vox[2]))

    def position_mm(self, column: float, row: float, place: float) -> np.ndarray:
        """Where a pixel lies, LPS mm, by the equation of PS3.3 C.7.6.2.1.1."""
        across, down, normal = self.turn.T
        wide, high, deep = self.spacing_mm
        beside = across * self.shift_mm[0] + down * self.shift_mm[1]
        origin = np.array(self.origin_mm) + place * (normal * deep + beside)
        return origin + across * wide * column + down * high * row

    @property
    def affine_mm(self) -> np.ndarray:
        """(4, 4) of the grid (column, row, slice) → RAS, for evenly placed slices."""
        corner = self.position_mm(0, 0, 0)
        affine = np.eye(4)
        for axis, index in enumerate(np.eye(3)):
            affine[:3, axis] = self.position_mm(*index) - corner
        affine[:3, 3] = corner
        return np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine


@dataclass(frozen=True)
class Written:
    """What was written: the files in the order of their slices, and the stored voxels (column, row, slice)."""

    paths: tuple[Path, ...]
    voxels: np.ndarray
    spec: SeriesSpec
    sop_instance_uids: tuple[str, ...]


@st.composite
def series_specs(draw, *, multi_frame=None):
    """Oblique, tilted, non-square, signed or not, classic or Enhanced."""
    order, signs = draw(st.sampled_from(AXIS_ORDERS))
    turn = signed_permutation(order, signs)
    if np.linalg.det(turn) < 0:
        turn[:, 2] *= -1  # a slice normal is always the cross product of row and column
    angle = st.floats(-0.5, 0.5, width=32)
    oblique = draw(st.booleans())
    turn = rotation(draw(st.tuples(angle, angle, angle))) @ turn if oblique else turn
    spacing = st.floats(0.25, 6.0, width=32)
    tilted = draw(st.booleans())
    slant = st.floats(-0.75, 0.75, width=32)
    place = st.floats(-400.0, 400.0, width=32)
    spacing_mm = draw(st.tuples(spacing, spacing, spacing))
    shift = [spacing_mm[2] * value for value in draw(st.tuples(slant, slant))] if tilted else (0.0, 0.0)
    return SeriesSpec(
        size_vox=draw(st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(3, 7))),
        spacing_mm=spacing_mm,
        turn=turn,
        shift_mm=(shift[0], shift[1]),
        origin_mm=draw(st.tuples(place, place, place)),
        signed=draw(st.booleans()),
        slope=draw(st.sampled_from([1.0, 2.0, 0.5])),
        intercept=draw(st.sampled_from([0.0, -1024.0])),
        multi_frame=draw(st.booleans()) if multi_frame is None else multi_frame,
        seed=draw(st.integers(0, 2**16)),
        modality=draw(st.sampled_from(["CT", "MR"])),
    )


def make_voxels(spec: SeriesSpec) -> np.ndarray:
    """Stored voxels (column, row, slice), no two slices equal."""
    generator = np.random.default_rng(spec.seed)
    low, high = (-1000, 1000) if spec.signed else (0, 2000)
    size = (*spec.size_vox[:2], len(spec.slice_places))
    return generator.integers(low, high, size, dtype=np.int16 if spec.signed else np.uint16)


def write_series(folder: Path, spec: SeriesSpec, *, voxels: np.ndarray | None = None) -> Written:
    """Write a series, its files named and its instances numbered in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    voxels = make_voxels(spec) if voxels is None else voxels
    if spec.multi_frame:
        return _write_enhanced(folder, spec, voxels)
    order = np.random.default_rng(spec.seed + 1).permutation(voxels.shape[2])
    paths, uids = [], []
    for index in range(voxels.shape[2]):
        dataset = classic(spec, voxels[:, :, index], index=index, number=int(order[index]) + 1)
        paths.append(folder / f"{order[index]:04d}.dcm")
        save(dataset, paths[-1])
        uids.append(dataset.SOPInstanceUID)
    return Written(tuple(paths), voxels, spec, tuple(uids))


def classic(spec: SeriesSpec, plane: np.ndarray, *, index: int, number: int = 1) -> Dataset:
    """The data set of one slice; `plane` is (column, row)."""
    dataset = _common(spec, f"{spec.seed}.{index}")
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = decimals(spec.position_mm(0, 0, spec.slice_places[index]))
    dataset.ImageOrientationPatient = decimals(spec.turn[:, :2].T.ravel())
    dataset.PixelSpacing = decimals((spec.spacing_mm[1], spec.spacing_mm[0]))
    dataset.SliceThickness = "9"  # a trap: never the spacing
    if (spec.slope, spec.intercept) != (1.0, 0.0) or spec.modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept = decimals((spec.slope, spec.intercept))
    _pixels(dataset, plane.T[None], spec)
    _extend(dataset, spec)
    return dataset


def _write_enhanced(folder: Path, spec: SeriesSpec, voxels: np.ndarray) -> Written:
    order = np.random.default_rng(spec.seed + 1).permutation(voxels.shape[2])
    dataset = enhanced(spec, voxels, order=order)
    path = folder / "enhanced.dcm"
    save(dataset, path)
    return Written((path,), voxels, spec, (dataset.SOPInstanceUID,))


def enhanced(spec: SeriesSpec, voxels: np.ndarray, *, order: np.ndarray) -> Dataset:
    """One Enhanced instance; frame `n` holds slice `order[n]`. Half of the groups are shared, half per frame."""
    dataset = _common(spec, f"{spec.seed}")
    dataset.NumberOfFrames = voxels.shape[2]
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=decimals(spec.turn[:, :2].T.ravel()))
    transformation = {
        "RescaleSlope": DSfloat(spec.slope, auto_format=True),
        "RescaleIntercept": DSfloat(spec.intercept, auto_format=True),
        "RescaleType": "US",
    }
    shared.PixelValueTransformationSequence = _item(**transformation)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for number, index in enumerate(order):
        frame = Dataset()
        position = spec.position_mm(0, 0, spec.slice_places[index])
        frame.PlanePositionSequence = _item(ImagePositionPatient=decimals(position))
        frame.PixelMeasuresSequence = _item(
            PixelSpacing=decimals((spec.spacing_mm[1], spec.spacing_mm[0])), SliceThickness="9"
        )
        frame.FrameContentSequence = _item(StackID="1", InStackPositionNumber=number + 1)
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    _pixels(dataset, voxels.transpose(2, 1, 0)[order], spec)
    _extend(dataset, spec)
    return dataset


def save(dataset: Dataset, path: Path, *, implicit: bool = False, big_endian: bool = False) -> Path:
    """Write a data set as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    plain = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain
    file = FileDataset(
        str(path),
        dataset,
        preamble=b"\0" * 128,
        file_meta=meta,
        is_implicit_VR=implicit,
        is_little_endian=not big_endian,
    )
    file.save_as(path, enforce_file_format=True)
    return path


def decimals(values) -> list[DSfloat]:
    """Numbers as decimal strings with all the digits that those can hold."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _common(spec: SeriesSpec, instance: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CLASSES[spec.modality, spec.multi_frame]
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", instance, str(spec.origin_mm), spec.modality])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(spec.seed), spec.modality])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame of reference"])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality = spec.modality
    dataset.PatientName, dataset.PatientID = "Test^Person", "test-1"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240102", "030405", "1", ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber, dataset.SeriesDescription = 3, f"made {spec.modality}"
    dataset.Manufacturer = "nobody"
    return dataset


def _pixels(dataset: Dataset, frames: np.ndarray, spec: SeriesSpec) -> None:
    """`frames` is (frame, row, column)."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(spec.signed)
    dataset.PixelData = np.ascontiguousarray(frames, dtype="<i2" if spec.signed else "<u2").tobytes()


def _item(**attributes: object) -> Sequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _extend(dataset: Dataset, spec: SeriesSpec) -> None:
    for keyword, value in spec.extra.items():
        setattr(dataset, keyword, value)
