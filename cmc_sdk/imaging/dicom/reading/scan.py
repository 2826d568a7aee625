"""What a folder of DICOM files holds: candidate volumes by name, and refusals by name."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cmc_sdk.imaging.dicom.quiet import quiet_pydicom
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.frames import Frame
from cmc_sdk.imaging.dicom.reading.grouping import Group, group_series, without_duplicates
from cmc_sdk.imaging.dicom.reading.header import read_header
from cmc_sdk.imaging.dicom.reading.instance import DIRECTORY_CLASS, frames_of, series_key
from cmc_sdk.imaging.dicom.reading.listing import list_files
from cmc_sdk.imaging.dicom.reading.series import SeriesVolume, series_volume
from cmc_sdk.imaging.dicom.reading.stack import check_plane, stack
from cmc_sdk.imaging.dicom.refusal import DicomError, Refusal
from cmc_sdk.progress import Progress

__all__ = ["DicomScan", "scan_dicom"]


@dataclass(frozen=True)
class DicomScan:
    """What `scan_dicom` found.

    Args:
        path: What was scanned.
        series: Candidate volumes; several of one series where b-values, echoes or orientations come apart.
        refused: What becomes no volume, and why.
        files: How many files were looked at.
    """

    path: Path
    series: tuple[SeriesVolume, ...]
    refused: tuple[Refusal, ...]
    files: int
    holds: object = field(default=None, repr=False, compare=False)


def scan_dicom(
    path: str | os.PathLike[str], *, progress: Progress | None = None, limits: DicomLimits | None = None
) -> DicomScan:
    """Look through a DICOM file, folder, DICOMDIR or zip; headers only, except where two images lie at one place.

    Frames are grouped by series, frame of reference, size, orientation, b-value, echo and kind of image, sorted along
    the slice normal by their positions, and spaced by their positions. Neither InstanceNumber, SliceThickness nor a
    file's name has a say. Links that lead out of the folder are not followed.

    Args:
        path: What to look through.
        progress: Called with ("scan", done, total) as files are read.
        limits: Bounds that are checked before anything is allocated.

    Raises:
        DataError: The path does not exist, or is over a limit. Whatever is wrong with a single file or series is in
            `DicomScan.refused` instead.
    """
    with quiet_pydicom():
        return _scan(path, progress=progress, limits=limits or DicomLimits())


def _scan(path: str | os.PathLike[str], *, progress: Progress | None, limits: DicomLimits) -> DicomScan:
    files = list_files(path, limits=limits)
    refused = list(files.refused)
    series: dict[str, list[Frame]] = defaultdict(list)
    troubles: dict[str, list[DicomError]] = defaultdict(list)
    strangers = 0
    for index, file in enumerate(files.paths):
        if progress is not None and (index % 64 == 0 or index + 1 == len(files.paths)):
            progress("scan", index + 1, len(files.paths))
        key = ""
        try:
            header = read_header(file, limits=limits)
            if header is None:
                strangers += 1
                continue
            if header.meta_text("MediaStorageSOPClassUID") == DIRECTORY_CLASS:
                continue
            key = series_key(header)
            frames = frames_of(header)
            for frame in frames:
                check_plane(frame)
        except DicomError as error:
            troubles[key].append(error)
        except Exception as error:  # hostile bytes that only show when a value is looked at
            troubles[key].append(
                DicomError("damaged", f"{file}: its header cannot be read ({error})", mend="copy it again")
            )
        else:
            series[key].extend(frames)
    volumes: list[SeriesVolume] = []
    for frames in series.values():
        for group in group_series(frames):
            try:
                volumes.append(_volume(group, limits=limits, scan_path=Path(path), holds=files.holds))
            except DicomError as error:
                refused.append(_of_group(error, group))
    for key, errors in troubles.items():
        refused += _of_files(errors, series_instance_uid="" if key.startswith("no UID") else key)
    if strangers:
        refused.append(
            Refusal(
                "not DICOM", f"{strangers} file(s) are not DICOM", "nothing to do, if they are not meant", strangers
            )
        )
    volumes.sort(key=lambda volume: (volume.words.series_number or 0, volume.series_instance_uid, volume.order))
    return DicomScan(Path(path), tuple(volumes), tuple(refused), len(files.paths), holds=files.holds)


def _volume(group: Group, *, limits: DicomLimits, scan_path: Path, holds: object) -> SeriesVolume:
    frames, dropped = without_duplicates(group.frames)
    made = stack(frames, limits=limits)
    return series_volume(made, group=group, dropped=dropped, limits=limits, path=scan_path, holds=holds)


def _of_group(error: DicomError, group: Group) -> Refusal:
    instance = group.frames[0].instance
    words = [instance.words.series_description or instance.modality or "a series", group.name]
    return Refusal(
        error.name,
        f"{', '.join(word for word in words if word)}: {error.reason}",
        error.mend,
        files=len({frame.instance.path for frame in group.frames}),
        series_instance_uid=instance.series_instance_uid,
    )


def _of_files(errors: list[DicomError], *, series_instance_uid: str) -> list[Refusal]:
    """One refusal for all files of a series that break the same rule; the first one stands for them."""
    counts = Counter(error.name for error in errors)
    first = {error.name: error for error in reversed(errors)}
    refusals = []
    for name, count in counts.items():
        more = f" (and {count - 1} more of its series)" if count > 1 else ""
        error = first[name]
        refusals.append(Refusal(name, error.reason + more, error.mend, count, series_instance_uid))
    return refusals
