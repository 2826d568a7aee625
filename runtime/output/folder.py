"""A result as files in one folder: whole, or not there at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cmc_sdk.atomic import atomic_directory
from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import CmcError, InputError
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.output.files import Format, write_files
from cmc_sdk.runtime.results.result import Result

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.writing.algorithm import AlgorithmIdentity

__all__ = ["check_result_folder", "write_result"]


def check_result_folder(folder: str | os.PathLike[str]) -> Path:
    """Refuse a folder that a result could not be written to, before any work is done.

    Args:
        folder: Must not exist, or be empty; its parent must exist.

    Raises:
        InputError: It holds something, is a file, or its parent is missing or cannot be written.
    """
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"output {path} is not empty", mend="remove it or choose another folder")
    if path.exists() and not path.is_dir():
        raise InputError(f"output {path} is a file", mend="choose a folder")
    parent = path.absolute().parent
    if not parent.is_dir():
        raise InputError(f"output {path}: the folder {parent} does not exist", mend="create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"output {path}: the folder {parent} may not be written to", mend="choose another place")
    return path


def write_result(
    result: Result,
    *,
    folder: str | os.PathLike[str],
    images: Mapping[str, Volume],
    spec: ModelSpec,
    report: bool = False,
    formats: Sequence[Format] = ("nifti",),
    algorithm: AlgorithmIdentity | None = None,
) -> dict[str, Path]:
    """Write every modality's labels in `formats`, `record.json` and, if asked, `report.html`.

    By modality: `nifti`: `labels_<m>.nii.gz` and `confidence_<m>.nii.gz`; `dicom-seg` and `dicom-labelmap`:
    `labels_<m>.seg.dcm` and `labels_<m>.labelmap.dcm`; `rtstruct`: `labels_<m>.rtstruct.dcm`; `sr`:
    `volumes_<m>.sr.dcm`. All files appear at once under `folder`; after an error or Ctrl-C none does.

    Args:
        result: Of `Session.infer`.
        folder: As `check_result_folder`.
        images: The scans that were given, by modality; shown in the report.
        spec: Of the bundle.
        report: Also write the page.
        formats: What to write; all but `nifti` need scans that came from DICOM.
        algorithm: What DICOM files say of the segmenter; needed for them.

    Returns:
        The files by name ("labels_ct", "confidence_ct", "seg_ct", "record", "report").

    Raises:
        InputError: As `check_result_folder`; a DICOM format for a scan that is none.
        GeometryError: A DICOM file that was read back does not hold the labels where they lie.
        ResourceError: The disk is full.
    """
    path = check_result_folder(folder)
    document = result.record.to_dict()
    if path.is_dir():
        path.rmdir()  # empty, as was just checked: the finished folder takes its place
    with atomic_directory(path) as temporary:
        try:
            names = write_files(
                result, folder=temporary, spec=spec, formats=formats, algorithm=algorithm, record=document
            )
        except CmcError as error:  # the user knows the folder that was asked for, not the one beside it
            error.what = error.what.replace(str(temporary), str(path))
            raise
        names["record"] = "record.json"
        (temporary / names["record"]).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")
        if report:
            names["report"] = "report.html"
            from cmc_sdk.runtime.output.report import render_report

            page = render_report(result, images=images, spec=spec, record=document)
            (temporary / names["report"]).write_text(page, "utf-8")
    return {name: path / file for name, file in names.items()}
