"""A series as a volume: pixels, true values, and the way back to its frames."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.frames import Frame
from cmc_sdk.imaging.dicom.reading.header import read_dataset
from cmc_sdk.imaging.dicom.reading.lookup import true_values
from cmc_sdk.imaging.dicom.reading.padding import Padding
from cmc_sdk.imaging.dicom.reading.pixels import pixel_dtype, stored_planes
from cmc_sdk.imaging.dicom.reading.scan import DicomScan, scan_dicom
from cmc_sdk.imaging.dicom.reading.series import SeriesVolume, is_scaled_by_frame
from cmc_sdk.imaging.dicom.reading.stack import Blend
from cmc_sdk.imaging.dicom.refusal import DicomError
from cmc_sdk.imaging.dicom.source import DicomSource
from cmc_sdk.imaging.volume import Volume

__all__ = ["IrregularPolicy", "read_dicom", "read_series"]

IrregularPolicy = Literal["refuse", "resample"]


def read_series(series: SeriesVolume, *, irregular: IrregularPolicy = "refuse") -> Volume:
    """Read one volume that `scan_dicom` found.

    The array is indexed (column, row, slice) and its header is a `DicomSource`. Voxels keep the stored type, with the
    rescale in `slope` and `intercept`; where frames differ in it, or a lookup table gives the values, they are float32
    true values. Only the stored bits count. Pixels that the header marks as padding get the lowest value of all
    others, since a value outside what was measured would spoil intensity statistics; padding whose true value is 0
    stays as it is outside CT, where 0 is the background.

    Args:
        series: What to read.
        irregular: Of missing slices and variable spacing: `refuse` them, or `resample` to an even grid, linearly.
            Slices that are in the scan stay as they are where the grid hits them; where a slice is missing, its place
            is in `Volume.interpolated_slices`, and in `DicomSource.gaps`.

    Raises:
        DicomError: An irregular grid under `refuse`, pixels that cannot be decoded, files that changed.
    """
    stack = series.stack
    if series.irregular is not None and irregular == "refuse":
        raise DicomError(
            series.irregular,
            f"{series.label}: {series.notes[-1]}",
            mend="copy what is missing, or resample to an even grid (--irregular resample), which marks the gaps",
        )
    array, slope, intercept, notes = _voxels(series)
    if series.irregular is not None:
        array = _blend(array, stack.plan)
        notes += (f"resampled to {len(stack.plan)} slices {series.spacing_mm[2]:.4g} mm apart",)
    source = DicomSource(
        frames=tuple(None if blend.source is None else series.frames[blend.source] for blend in stack.plan),
        header=read_dataset(series.frames[0].path),
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        frame_of_reference_uid=series.frame_of_reference_uid or None,
        modality=series.modality,
        gaps=series.gaps,
        holds=series.holds,
    )
    return Volume(
        array.transpose(2, 1, 0),
        stack.affine_mm,
        slope=slope,
        intercept=intercept,
        name=str(series.path),
        header=source,
        notes=(*series.notes, *notes),
        frame_of_reference_uid=source.frame_of_reference_uid,
        interpolated_slices=source.gaps,
    )


def read_dicom(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    irregular: IrregularPolicy = "refuse",
    limits: DicomLimits | None = None,
) -> Volume:
    """Read the one volume that a DICOM file, folder, DICOMDIR or zip holds.

    Args:
        path: Where it lies.
        series: Which one, where there are several: a Series Instance UID, a series number, or either followed by the
            volume's name in its series, as in "6:b=800".
        irregular: See `read_series`.
        limits: See `scan_dicom`.

    Raises:
        DataError: No volume, several (they are listed), or one that cannot be read.
    """
    return read_series(choose(scan_dicom(path, limits=limits), series=series), irregular=irregular)


def choose(scan: DicomScan, *, series: str | None = None) -> SeriesVolume:
    """The one volume of a scan, or the one that `series` names.

    Raises:
        DataError: None, or several; they are listed.
    """
    wanted, _, name = (series or "").partition(":")
    found = [
        volume
        for volume in scan.series
        if (not wanted or wanted in {volume.series_instance_uid, str(volume.words.series_number)})
        and (not name or name == volume.name)
    ]
    if len(found) == 1:
        return found[0]
    if not found and scan.series:
        raise DataError(f"{scan.path} has no volume {series!r}, only {_listed(scan.series)}", mend="name one of them")
    if found:
        raise DataError(
            f"{scan.path} holds {len(found)} volumes: {_listed(tuple(found))}",
            mend=f"say which is meant, as in {_example(found[-1])}",
        )
    reasons = "; ".join(f"{item.name}: {item.what}" for item in scan.refused[:4])
    mend = scan.refused[0].mend if len(scan.refused) == 1 else "give the folder of a CT, MR or PET series"
    raise DataError(f"{scan.path} holds no volume{f' ({reasons})' if reasons else ''}", mend=mend)


def _example(volume: SeriesVolume) -> str:
    number = volume.words.series_number
    series = volume.series_instance_uid if number is None else str(number)
    return f"{series}:{volume.name}" if volume.name else series


def _listed(volumes: tuple[SeriesVolume, ...]) -> str:
    shown = [f"{volume.label} ({volume.modality}, {'×'.join(map(str, volume.size_vox))})" for volume in volumes[:12]]
    return ", ".join(shown) + (", …" if len(volumes) > 12 else "")


def _voxels(series: SeriesVolume) -> tuple[npt.NDArray[np.generic], float, float, tuple[str, ...]]:
    """(slices, rows, columns) of the frames that are there, slope, intercept and notes; one plane at a time."""
    frames = series.stack.frames
    layout = frames[0].instance.layout
    shape = (len(frames), series.size_vox[1], series.size_vox[0])
    by_frame = is_scaled_by_frame(series.stack)
    array = np.empty(shape, dtype=np.float32 if by_frame else pixel_dtype(layout))
    scaling = frames[0].scaling
    padding = Padding(array, keeps_zero=series.modality != "CT", scaling=None if by_frame else scaling)
    beyond = 0
    for place, frame, plane in _planes(frames):
        padded = padding.mask(plane, layout=frame.instance.layout)
        beyond += _keep_stored_bits(plane, frame=frame, padded=padded)
        array[place] = true_values(plane, frame=frame) if by_frame else plane
        padding.seen(place, padded=padded)
    notes = list(padding.finish())
    if beyond:
        notes.append(f"{beyond} pixels had bits beyond Bits Stored, which are no part of the value")
    if by_frame:
        notes.append("its frames differ in their rescale, or use a lookup table: read as float32 true values")
        return array, 1.0, 0.0, tuple(notes)
    return array, scaling.slope, scaling.intercept, tuple(notes)


def _planes(frames: tuple[Frame, ...]) -> Iterator[tuple[int, Frame, npt.NDArray[np.integer]]]:
    """Each frame with its place in the stack, file by file, so that each file is opened once."""
    by_file: dict[Path, list[int]] = defaultdict(list)
    for place, frame in enumerate(frames):
        by_file[frame.instance.path].append(place)
    for places in by_file.values():
        places.sort(key=lambda place: frames[place].index)
        instance = frames[places[0]].instance
        planes = stored_planes(instance, [frames[place].index for place in places])
        for place, plane in zip(places, planes, strict=True):
            yield place, frames[place], plane


def _keep_stored_bits(plane: npt.NDArray[np.integer], *, frame: Frame, padded: npt.NDArray[np.bool_] | None) -> int:
    """Sign-extend or mask, in place, values that use more than Bits Stored; how many did."""
    layout = frame.instance.layout
    spare = layout.bits_allocated - layout.bits_stored
    if spare == 0:
        return 0
    low, high = (
        (-(1 << layout.bits_stored - 1), (1 << layout.bits_stored - 1) - 1)
        if layout.signed
        else (0, (1 << layout.bits_stored) - 1)
    )
    if plane.min() >= low and plane.max() <= high:
        return 0
    wrong = (plane < low) | (plane > high)
    if padded is not None:
        wrong &= ~padded
    values = plane[wrong]
    plane[wrong] = (values << spare) >> spare if layout.signed else values & high
    return int(wrong.sum())


def _blend(array: npt.NDArray[np.generic], plan: tuple[Blend, ...]) -> npt.NDArray[np.generic]:
    grid = np.empty((len(plan), *array.shape[1:]), dtype=array.dtype)
    for index, blend in enumerate(plan):
        if blend.source is not None:
            grid[index] = array[blend.source]
            continue
        mixed = (1.0 - blend.weight) * array[blend.lower] + blend.weight * array[blend.upper]
        grid[index] = mixed if array.dtype.kind == "f" else np.rint(mixed)
    return grid
