"""A folder of DICOM files, de-identified as a whole: one map of UIDs, one new folder, one report."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmc_sdk.errors import DataError, InputError
from cmc_sdk.files import atomic_directory
from cmc_sdk.imaging.dicom.deidentify.cleaner import Cleaner
from cmc_sdk.imaging.dicom.deidentify.left_over import check_nothing_left, identifying_values
from cmc_sdk.imaging.dicom.deidentify.pixels import clean_pixels
from cmc_sdk.imaging.dicom.deidentify.profile import EDITION
from cmc_sdk.imaging.dicom.quiet import quiet_pydicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["AnonymiseReport", "anonymise_folder"]

REPORT = "anonymise.json"
# Objects whose bulk data is made of pixels, contours or segments; anything else may hold words that no rule reaches.
_ALLOWED = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "Legacy Converted Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "label map SEG",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
}
_HEAD = {"HEAD", "BRAIN", "SKULL", "HEADNECK"}


@dataclass(frozen=True)
class AnonymiseReport:
    """What was done, in counts: no value of any file, and no file's name.

    Args:
        files: Files written.
        patients: How many patients they are of.
        attributes: By attribute, "(gggg,eeee) Keyword: action", how many times.
        private: Private attributes removed.
        pixel_places: Comments in compressed frames blanked, and bytes after the last pixel cut.
        left_out: Files that were not written, by reason.
        warnings: What a person should look at.
    """

    files: int
    patients: int
    attributes: dict[str, int]
    private: int
    pixel_places: int
    left_out: dict[str, int]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "profile": f"DICOM PS3.15 {EDITION}, basic application confidentiality profile, no option",
            "files": self.files,
            "patients": self.patients,
            "attributes": self.attributes,
            "private_attributes_removed": self.private,
            "pixel_places_cleaned": self.pixel_places,
            "left_out": self.left_out,
            "warnings": list(self.warnings),
        }


def anonymise_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> AnonymiseReport:
    """Write de-identified copies of all images, SEG and RTSTRUCT under `source` into the new folder `target`.

    PS3.15's basic profile without options, read strictly: attributes of its table are removed, emptied, replaced or
    given new UIDs as it says; all private attributes go; text that the table does not name is replaced unless it is
    known to be harmless; dates, times and ages go. UIDs and patients' new names are random and the same throughout one
    call. A b-value in a private attribute is moved to the standard's. Geometry and pixels stay as they are, bit for
    bit. Files are named by patient, study and series, in numbers.

    Objects with words in their pixels (secondary captures, ultrasound, anything marked as burned in) or with free
    content (reports, documents, waveforms) are left out and counted. Every file is searched for the values that were
    taken out of it before the folder gets its name.

    Raises:
        InputError: `source` is no folder; `target` exists or lies in it.
        DataError: Nothing could be written, or a value was found again in what was written.
        ResourceError: The disk is full.
    """
    root, final = Path(source), Path(target)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder", mend="give the folder of DICOM files")
    if final.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{final} lies inside {root}", mend="choose a folder outside it")
    paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    cleaner, left_out, warnings = Cleaner(), Counter[str](), Counter[str]()
    names: dict[tuple[str, ...], str] = {}
    patients: set[str] = set()
    written = places = 0
    with quiet_pydicom(), atomic_directory(final) as folder:
        for index, path in enumerate(paths):
            if progress is not None:
                progress("anonymise", index, len(paths))
            dataset = _read(path)
            reason = "not readable as DICOM" if dataset is None else _refusal(dataset)
            if dataset is None or reason is not None:
                left_out[reason or ""] += 1
                continue
            _keep_b_value(dataset)
            warnings.update(_warnings(dataset))
            identifying = identifying_values(dataset)
            patient = cleaner.clean(dataset)
            patients.add(patient)
            places += clean_pixels(dataset)
            place = folder / _place(dataset, patient, names=names)
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(dataset, place, cleaner)
            check_nothing_left(place, identifying, dataset)
            written += 1
        if progress is not None:
            progress("anonymise", len(paths), len(paths))
        if not written:
            reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it is empty"
            raise DataError(
                f"{root} holds nothing to anonymise: {reasons}", mend="give a folder of CT, MR or PET files"
            )
        report = AnonymiseReport(
            files=written,
            patients=len(patients),
            attributes=_named(cleaner),
            private=cleaner.private,
            pixel_places=places,
            left_out=dict(left_out),
            warnings=tuple(f"{text} ({count} files)" for text, count in warnings.items()),
        )
        (folder / REPORT).write_text(json.dumps(report.to_dict(), indent=2) + "\n", "utf-8")
    return report


def _read(path: Path) -> Dataset | None:
    import pydicom

    try:
        return pydicom.dcmread(path)
    except Exception:  # not DICOM, or damaged in any of a hundred ways: left out and counted
        return None


def _refusal(dataset: Dataset) -> str | None:
    """Why a file must not leave, or None."""
    from pydicom.uid import UID

    kind = UID(str(dataset.get("SOPClassUID", "")))
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        return "burned-in annotation: its pixels hold words"
    if str(kind) in _ALLOWED:
        return None
    name = kind.name if kind and kind.name != str(kind) else "of a kind that DICOM does not define"
    if "Secondary Capture" in name:
        return "secondary capture: its pixels may hold words"
    if "Ultrasound" in name:
        return "ultrasound: its pixels usually hold words"
    return f"{name}: its content cannot be checked for words"


def _keep_b_value(dataset: Dataset) -> None:
    """Say a b-value in the standard's attribute that only a private one says: without it a series' volumes are one."""
    from cmc_sdk.imaging.dicom.attributes import Attributes
    from cmc_sdk.imaging.dicom.private import b_value

    if (
        dataset.get("Modality") == "MR"
        and "DiffusionBValue" not in dataset
        and "SharedFunctionalGroupsSequence" not in dataset
    ):
        value = b_value(
            Attributes(dataset)
        )  # it reads elements as they lie in the file: nothing has looked at them yet
        if value is not None:
            dataset.DiffusionBValue = value


def _warnings(dataset: Dataset) -> list[str]:
    found = []
    image = dataset.get("SOPClassUID") not in {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"}
    if image and "BurnedInAnnotation" not in dataset:
        found.append("does not say whether words are burned in (BurnedInAnnotation is absent): look at the pixels")
    words = str(dataset.get("ImageType", "")).upper()
    if "SECONDARY" in words:
        found.append("is a derived or captured image (ImageType SECONDARY): look at the pixels for burned-in words")
    face = str(dataset.get("RecognizableVisualFeatures", "")).strip().upper() != "NO"
    if image and face and str(dataset.get("BodyPartExamined", "")).strip().upper() in _HEAD:
        found.append("shows a head, from which a face can be reconstructed: this command does not remove it")
    return found


def _place(dataset: Dataset, patient: str, *, names: dict[tuple[str, ...], str]) -> Path:
    study = (patient, str(dataset.get("StudyInstanceUID", "")))
    series = (*study, str(dataset.get("SeriesInstanceUID", "")))
    parts = [patient]
    for key, letters in ((study, "ST"), (series, "SE"), ((*series, str(dataset.SOPInstanceUID)), "IM")):
        count = sum(len(other) == len(key) and other[:-1] == key[:-1] for other in names) if key not in names else 0
        parts.append(names.setdefault(key, f"{letters}{count + 1:05d}"))
    return Path(*parts[:-1], f"{parts[-1]}.dcm")


def _write(dataset: Dataset, path: Path, cleaner: Cleaner) -> None:
    """With a file meta and a preamble of our own: both may hold anything."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = "CMC-SDK"
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
    dataset.save_as(path, enforce_file_format=True)


def _named(cleaner: Cleaner) -> dict[str, int]:
    from pydicom.datadict import dictionary_has_tag, keyword_for_tag

    named: dict[str, int] = {}
    for (tag, action), count in sorted(cleaner.counts.items()):
        word = keyword_for_tag(tag) if dictionary_has_tag(tag) else "unknown"
        named[f"({tag >> 16:04x},{tag & 0xFFFF:04x}) {word}: {action}"] = count
    return named
