"""What a written object says, read with pydicom and numpy alone: no function here is known to the writers.

The round-trip check rests on that: a fault that the writers and their libraries share would be seen by neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import GeometryError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Contour", "Plane", "SegmentationFrame", "SegmentationObject", "Structure", "frame_planes", "structures"]

_GEOMETRY_TAGS = (
    "SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip

Reference = tuple[str, int | None]


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a frame lie: LPS mm = corner + column * across + row * down."""

    corner_mm: npt.NDArray[np.float64]
    across_mm: npt.NDArray[np.float64]
    down_mm: npt.NDArray[np.float64]


@dataclass(frozen=True)
class SegmentationFrame:
    """One frame of a SEG: its place in the pixel data, segment (None in a label map), plane and source frames."""

    number: int
    segment: int | None
    plane: Plane
    references: tuple[Reference, ...]


class SegmentationObject:
    """A SEG file: its frames, and their pixels on demand."""

    def __init__(self, path: Path) -> None:
        import pydicom

        dataset = pydicom.dcmread(path)
        self.rows, self.columns = int(dataset.Rows), int(dataset.Columns)
        self.is_labelmap = str(dataset.SegmentationType) == "LABELMAP"
        self._bits = int(dataset.BitsAllocated)
        self._pixels = np.frombuffer(dataset.PixelData, dtype=np.uint8)
        shared = dataset.SharedFunctionalGroupsSequence[0]
        self.frames = [
            _segmentation_frame(number, item, shared)
            for number, item in enumerate(dataset.PerFrameFunctionalGroupsSequence)
        ]
        needed = len(self.frames) * self.rows * self.columns * self._bits
        if int(dataset.NumberOfFrames) != len(self.frames) or len(self._pixels) * 8 < needed:
            raise GeometryError(
                f"the file holds {len(self._pixels)} bytes of pixels and {len(self.frames)} descriptions of frames for "
                f"{dataset.NumberOfFrames} frames of {self.rows} × {self.columns}"
            )

    def pixels(self, number: int) -> npt.NDArray[np.generic]:
        """Frame `number`, (rows, columns): 0 and 1, or label values."""
        size = self.rows * self.columns
        if self._bits == 1:
            first = number * size  # frames follow each other bit by bit, wherever a byte ends
            start = first // 8
            some = np.unpackbits(self._pixels[start : (first + size + 7) // 8], bitorder="little")
            return some[first - 8 * start :][:size].reshape(self.rows, self.columns)
        width = self._bits // 8
        values = self._pixels[number * size * width : (number + 1) * size * width].view(f"<u{width}")
        return values.reshape(self.rows, self.columns)


@dataclass(frozen=True)
class Contour:
    """One closed contour: points in LPS mm (N, 3), and its source frame. Areas of one structure are joined."""

    points_mm: npt.NDArray[np.float64]
    reference: Reference | None


@dataclass(frozen=True)
class Structure:
    """One region of interest: its number and its contours."""

    number: int
    contours: tuple[Contour, ...]


def structures(path: Path) -> Iterator[Structure]:
    """The regions of interest of an RTSTRUCT file."""
    import pydicom

    dataset = pydicom.dcmread(path)
    for item in dataset.get("ROIContourSequence") or ():
        contours = tuple(_contour(one) for one in item.get("ContourSequence") or ())
        yield Structure(int(item.ReferencedROINumber), contours)


def frame_planes(path: Path) -> dict[Reference, Plane]:
    """The planes of an instance that a scanner wrote, by instance and frame number (None: a single frame)."""
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_GEOMETRY_TAGS))
    return planes_in(dataset)


def planes_in(dataset: Dataset) -> dict[Reference, Plane]:
    """The planes that a data set names; those that it does not say in full are left out."""
    uid = str(dataset.get("SOPInstanceUID", ""))
    items: Sequence[Dataset] | None = dataset.get("PerFrameFunctionalGroupsSequence")
    if not items:
        found = _plane(dataset, dataset)
        return {} if found is None else {(uid, None): found}
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    planes: dict[Reference, Plane] = {}
    for number, item in enumerate(items, start=1):
        found = _plane(item, shared)
        if found is not None:
            planes[uid, number] = found
    return planes


def _segmentation_frame(number: int, item: Dataset, shared: Dataset) -> SegmentationFrame:
    identification = item.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
    plane = _plane(item, shared)
    if plane is None:
        raise GeometryError(f"frame {number + 1} does not say where it lies")
    references = tuple(
        (str(source.ReferencedSOPInstanceUID), _number(source.get("ReferencedFrameNumber")))
        for derivation in item.get("DerivationImageSequence") or ()
        for source in derivation.get("SourceImageSequence") or ()
    )
    segment = int(identification[0].ReferencedSegmentNumber) if identification else None
    return SegmentationFrame(number, segment, plane, references)


def _plane(item: Dataset, shared: Dataset | None) -> Plane | None:
    """From the attributes of `item`, or of its functional groups, or of the shared ones."""

    def value(sequence: str, keyword: str) -> npt.NDArray[np.float64] | None:
        for place in (item, shared):
            if place is None:
                continue
            group = place.get(sequence)
            found = (group[0] if group else place).get(keyword)
            if found:
                return np.array([float(number) for number in found])
        return None

    corner = value("PlanePositionSequence", "ImagePositionPatient")
    cosines = value("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = value("PixelMeasuresSequence", "PixelSpacing")
    if corner is None or cosines is None or spacing is None:
        return None
    # The first spacing is that between rows, so it goes with the second direction, in which rows follow each other.
    return Plane(corner, cosines[:3] * spacing[1], cosines[3:] * spacing[0])


def _contour(item: Dataset) -> Contour:
    kind = str(item.ContourGeometricType)
    if kind != "CLOSED_PLANAR":
        raise GeometryError(f"it holds a contour of type {kind}")
    element = item.get_item("ContourData")
    text = element.value if isinstance(element.value, bytes) else "\\".join(map(str, element.value)).encode()
    points = np.array(text.split(b"\\"), dtype=np.float64).reshape(-1, 3)
    images = item.get("ContourImageSequence") or ()
    reference = (
        (str(images[0].ReferencedSOPInstanceUID), _number(images[0].get("ReferencedFrameNumber"))) if images else None
    )
    return Contour(points, reference)


def _number(value: float | str | None) -> int | None:
    return None if value is None else int(value)
