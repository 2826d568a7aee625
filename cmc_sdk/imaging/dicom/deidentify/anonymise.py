"""A folder of DICOM files, de-identified as a whole: one map of UIDs, one new folder, one report."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmc_sdk.atomic import atomic_directory
from cmc_sdk.errors import CmcError, DataError, InputError
from cmc_sdk.imaging.dicom.deidentify.around_pixels import clean_pixels
from cmc_sdk.imaging.dicom.deidentify.cleaner import Cleaner
from cmc_sdk.imaging.dicom.deidentify.left_over import check_nothing_left, identifying_values
from cmc_sdk.imaging.dicom.deidentify.profile import EDITION
from cmc_sdk.imaging.dicom.deidentify.screening import what_to_look_at, why_left_out
from cmc_sdk.imaging.dicom.quiet import quiet_pydicom
from cmc_sdk.imaging.dicom.reading.attributes import Attributes
from cmc_sdk.imaging.dicom.reading.b_value import b_value
from cmc_sdk.progress import Progress

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["AnonymiseReport", "anonymise_folder"]

REPORT = "anonymise.json"


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

    def to_dict(self) -> dict[str, object]:
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
    progress: Progress | None = None,
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
    patients: set[str] = set()
    places = _Places()
    written = cleaned = 0
    with quiet_pydicom(), atomic_directory(final) as folder:
        for index, path in enumerate(paths):
            if progress is not None:
                progress("anonymise", index, len(paths))
            done = _anonymise_file(path, folder=folder, cleaner=cleaner, places=places)
            if done.left_out is not None:
                left_out[done.left_out] += 1
                continue
            warnings.update(done.look)
            patients.add(done.patient)
            cleaned += done.pixel_places
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
            pixel_places=cleaned,
            left_out=dict(left_out),
            warnings=tuple(f"{text} ({count} files)" for text, count in warnings.items()),
        )
        (folder / REPORT).write_text(json.dumps(report.to_dict(), indent=2) + "\n", "utf-8")
    return report


@dataclass(frozen=True)
class _Done:
    """What became of one file."""

    left_out: str | None = None
    patient: str = ""
    pixel_places: int = 0
    look: tuple[str, ...] = ()


def _anonymise_file(path: Path, *, folder: Path, cleaner: Cleaner, places: _Places) -> _Done:
    import pydicom

    try:
        dataset = pydicom.dcmread(path)
    except Exception:  # not DICOM, or damaged in any of a hundred ways
        return _Done("not readable as DICOM")
    try:
        reason = why_left_out(dataset)
        if reason is not None:
            return _Done(reason)
        _keep_b_value(dataset)
        look = what_to_look_at(dataset)
        identifying = identifying_values(dataset)
        patient = cleaner.clean(dataset)
        count = clean_pixels(dataset)
        place = folder / places.of(dataset, patient)
        if place.exists():
            return _Done("another file of an instance that is there already")
        _write(dataset, place)
        check_nothing_left(place, identifying, dataset)
    except (CmcError, OSError):
        raise
    except Exception:  # values that only show when they are converted or written that they are none
        return _Done("damaged: it cannot be written again")
    return _Done(patient=patient, pixel_places=count, look=tuple(look))


def _keep_b_value(dataset: Dataset) -> None:
    """Say a b-value in the standard's attribute that only a private one says: without it a series' volumes are one."""
    if (
        dataset.get("Modality") == "MR"
        and "DiffusionBValue" not in dataset
        and "SharedFunctionalGroupsSequence" not in dataset
    ):
        value = b_value(Attributes(dataset))  # elements as they lie in the file: nothing has looked at them yet
        if value is not None:
            dataset.DiffusionBValue = value


class _Places:
    """Where files go: numbers by patient, study, series and instance, in the order in which they come."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], str] = {}
        self._counts: Counter[tuple[str, ...]] = Counter()

    def of(self, dataset: Dataset, patient: str) -> Path:
        key: tuple[str, ...] = (patient,)
        parts = [patient]
        for keyword, letters in (("StudyInstanceUID", "ST"), ("SeriesInstanceUID", "SE"), ("SOPInstanceUID", "IM")):
            above, key = key, (*key, str(dataset.get(keyword, "")))
            if key not in self._names:
                self._counts[above] += 1
                self._names[key] = f"{letters}{self._counts[above]:05d}"
            parts.append(self._names[key])
        return Path(*parts[:-1], f"{parts[-1]}.dcm")


def _write(dataset: Dataset, path: Path) -> None:
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
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        dataset.save_as(path, enforce_file_format=True)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _named(cleaner: Cleaner) -> dict[str, int]:
    from pydicom.datadict import dictionary_has_tag, keyword_for_tag

    named: dict[str, int] = {}
    for (tag, action), count in sorted(cleaner.counts.items()):
        word = keyword_for_tag(tag) if dictionary_has_tag(tag) else "unknown"
        named[f"({tag >> 16:04x},{tag & 0xFFFF:04x}) {word}: {action}"] = count
    return named
