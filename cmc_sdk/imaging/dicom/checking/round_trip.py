"""The round-trip check: nothing leaves that does not hold its labels where they lie in the patient.

A file is read back by pydicom and numpy alone (`read_back`), laid over the labels in DICOM's patient coordinates, and
held against the planes that the scanner's own files name for the frames that it refers to. No function is shared with
the writers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.dicom.checking.comparison import (
    ContourComparison,
    Difference,
    ReadBackComparison,
    SegmentationComparison,
)
from cmc_sdk.imaging.dicom.checking.index_maps import IndexMap, faults_of
from cmc_sdk.imaging.dicom.checking.read_back import Reference, SegmentationObject, structures
from cmc_sdk.imaging.dicom.checking.source_planes import settled_slices
from cmc_sdk.imaging.dicom.source import DicomSource, require_dicom_source
from cmc_sdk.imaging.volume import Volume

__all__ = ["check_segmentation", "check_structure_set"]


def check_segmentation(path: Path, *, labels: Volume, name: str) -> None:
    """Check that the SEG at `path` holds every voxel of `labels`, and no other, at its place in the patient.

    Args:
        path: The file, under its temporary name.
        labels: What it should hold; its `header` is the DicomSource.
        name: What to call it in messages.

    Raises:
        GeometryError: It does not, or a mirrored, shifted or transposed version would fit as well and no reference to
            a source frame tells them apart; says which.
    """
    _check(lambda: SegmentationComparison(labels, SegmentationObject(path)), labels=labels, name=name)


def check_structure_set(path: Path, *, labels: Volume, name: str) -> None:
    """Check that the contours of the RTSTRUCT at `path`, filled again, are `labels` at their place in the patient.

    Voxels may differ within one pixel of a boundary; pieces and holes of each slice are equal.

    Args:
        path: The file, under its temporary name.
        labels: What it should hold; its `header` is the DicomSource.
        name: What to call it in messages.

    Raises:
        GeometryError: As for `check_segmentation`.
    """
    _check(lambda: ContourComparison(labels, list(structures(path))), labels=labels, name=name)


def _check(read: Callable[[], ReadBackComparison], *, labels: Volume, name: str) -> None:
    try:
        comparison = read()
    except GeometryError as error:
        raise _refusal(name, error.what) from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _refusal(name, f"it cannot be read back ({type(error).__name__}: {error})") from error
    faults = faults_of(labels)
    found = comparison.difference()
    if found is None or found.unexplained:
        raise _refusal(name, f"read back, it {_explain(comparison, found, faults=faults)}")
    if found.differing:  # within a pixel of boundaries; but so does a shift by one pixel lie
        for fault in faults:
            other = comparison.difference(fault.matrix)
            if other is not None and other.differing < found.differing:
                raise _refusal(name, f"read back, it is {fault.name}")
    source = require_dicom_source(labels)
    references = comparison.references()
    if wrong := _wrong_references(references, source=source):
        raise _refusal(name, f"read back, it {wrong}")
    try:
        settled = settled_slices(labels, referenced={k for _, k, _ in references})
    except GeometryError as error:
        raise _refusal(name, error.what) from error
    if not labels.stored.any():
        return  # nothing that could be mirrored
    occupied = {k for _, k, _ in references}
    for fault in faults:
        if any(not fault.keeps_slice(k) for k in settled):
            continue  # a source frame that lies elsewhere under this fault
        if all(fault.keeps_slice(k) for k in occupied):
            continue  # each frame stays where it is: it is the same object
        other = comparison.difference(fault.matrix)
        if other is not None and other.differing <= found.differing:
            raise _refusal(
                name,
                f"the labels fit as well if they are {fault.name}, and no reference to a source frame whose file says "
                "where it lies tells the two apart",
            )


def _explain(comparison: ReadBackComparison, found: Difference | None, *, faults: list[IndexMap]) -> str:
    """Which fault makes the object fit its labels."""
    fits = [(fault, other) for fault in faults if (other := comparison.difference(fault.matrix)) is not None]
    for fault, other in fits:
        if not other.unexplained:
            return f"is {fault.name}"
    if comparison.slices_are_shuffled():
        return "holds the right slices in the wrong places: its frames are shuffled"
    if found is None:
        return "does not lie on the grid of the labels"
    nearest, other = min(fits, key=lambda pair: pair[1].unexplained, default=(None, found))
    hint = (
        f", and fewest ({other.differing}) if it is {nearest.name}"
        if nearest and other.differing < found.differing / 2
        else ""
    )
    return f"differs from the labels in {found.differing} voxels{hint}"


def _wrong_references(references: list[tuple[int, int, tuple[Reference, ...]]], *, source: DicomSource) -> str:
    """What is wrong with the source frames that the object's frames refer to; empty if nothing is."""
    slice_of = {
        (frame.sop_instance_uid, frame.frame_number): k for k, frame in enumerate(source.frames) if frame is not None
    }
    wrong: list[tuple[int, int, int | None]] = []
    for number, k, held in references:
        frame = source.frames[k]
        expected = () if frame is None else ((frame.sop_instance_uid, frame.frame_number),)
        if held != expected:
            wrong.append((number, k, slice_of.get(held[0]) if held else None))
    if not wrong:
        return ""
    steps = {None if other is None else other - k for _, k, other in wrong}
    number, k, other = wrong[0]
    if None in steps:
        return f"has a frame or contour ({number}, slice {k}) that does not refer to the source frame at its place"
    if len(steps) == 1:
        return f"is off by {_slices(steps.pop())}: what lies at slice {k} refers to the source frame of slice {other}"
    return f"has its frames shuffled: what lies at slice {k} refers to the source frame of slice {other}"


def _slices(step: int | None) -> str:
    count = abs(step or 0)
    return "one slice" if count == 1 else f"{count} slices"


def _refusal(name: str, what: str) -> GeometryError:
    return GeometryError(
        f"{name} was not written: {what}",
        mend="write NIfTI instead, and report this with the series, since it must not happen",
    )
