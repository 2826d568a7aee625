"""A folder of DICOM studies as a data list with NIfTI copies, named by numbers and by nothing that the files say."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from cmc_sdk.atomic import atomic_directory
from cmc_sdk.bundle.manifest import ModalitySpec, Name
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.dicom.choosing.selection import AmbiguousSeriesError, Selection, select_series
from cmc_sdk.imaging.dicom.reading.read_series import read_series
from cmc_sdk.imaging.dicom.reading.scan import DicomScan, scan_dicom
from cmc_sdk.imaging.dicom.refusal import DicomError, Refusal
from cmc_sdk.imaging.nifti import write_volume
from cmc_sdk.pairing import CasePairing
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.scans.study import wanted_of
from cmc_sdk.strict_model import StrictModel
from cmc_sdk.training.data.datalist import Case, Datalist, complete_classes, write_datalist
from cmc_sdk.training.data.documents import read_document
from cmc_sdk.training.data.faults import schema_faults

__all__ = ["DicomImport", "StudyRules", "checked_rules", "import_dicom", "load_study_rules"]


class StudyRules(StrictModel):
    """A data list without its cases: what to look for in each study.

    Args:
        name: What to call the list.
        modalities: In the network's order; `series` says which series each one is.
        reference_modality: Which is chosen first; None for the first.
        classes: Foreground classes, as in a data list.
        pairing: How the modalities of a case relate.
    """

    name: Annotated[str, Field(min_length=1)] = "dicom"
    modalities: Annotated[tuple[ModalitySpec, ...], Field(min_length=1)]
    reference_modality: Name | None = None
    classes: ClassTable
    pairing: CasePairing = "registered"

    @field_validator("classes", mode="before")
    @classmethod
    def _short_classes(cls, value: object) -> object:
        return complete_classes(value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _check(self) -> StudyRules:
        names = [item.name for item in self.modalities]
        if len(set(names)) != len(names):
            raise ValueError("modality names must differ")
        if self.reference_modality is not None and self.reference_modality not in names:
            raise ValueError(f"reference_modality {self.reference_modality!r} is none of {names}")
        return self


@dataclass(frozen=True)
class DicomImport:
    """What `import_dicom` wrote.

    Args:
        path: The data list.
        datalist: What is in it.
        left_out: Studies that became no case, with the folder of their first file and the reason.
        refused: What the scan could not make a volume of.
        notes: What the user should know of single cases.
    """

    path: Path
    datalist: Datalist
    left_out: tuple[str, ...]
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...]


def load_study_rules(path: str | os.PathLike[str]) -> StudyRules:
    """Read rules (`.yaml`, `.yml` or `.json`); a data list is one, its cases are not looked at.

    Raises:
        DataError: Missing, unreadable, or against the schema; every fault is named at once.
    """
    file = Path(path)
    document = read_document(file, what="rules")
    document.pop("cases", None)
    return checked_rules(document, what=f"rules {file}")


def checked_rules(document: Mapping[str, object], *, what: str) -> StudyRules:
    """Rules from a mapping.

    Raises:
        DataError: Against the schema; every fault is named at once.
    """
    try:
        return StudyRules.model_validate(document)
    except ValidationError as error:
        faults = schema_faults(error, model=StudyRules)
        raise DataError(f"{what}: {'; '.join(faults)}", mend="see docs/dicom-study.md") from error


def import_dicom(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    rules: StudyRules,
    irregular: Literal["refuse", "resample"] = "refuse",
    progress: Progress | None = None,
) -> DicomImport:
    """Choose the series of every study under `source`, and write them as NIfTI with a data list into the folder `out`.

    One case a study, unlabelled; labels are the user's to add. Cases and patients are numbered by the order of their
    Study Instance UIDs, so equal folders give equal names, and no name, date or UID of a patient is in any of them.

    Args:
        source: A folder of studies, in any order and depth; or a zip.
        out: A folder that does not exist yet; it appears whole or not at all.
        rules: What to look for.
        irregular: Of missing slices and variable spacing; see `read_series`.
        progress: Called with ("scan", done, total) and ("studies", done, total).

    Raises:
        DataError: A study in which the rules leave a choice (all are listed), or no study that fits.
        InputError: `out` exists.
        ResourceError: The disk is full.
    """
    final = Path(out)
    scan = scan_dicom(source, progress=progress)
    studies = list(_studies(scan))
    cases: list[Case] = []
    patients: dict[str, str] = {}
    left_out: list[str] = []
    notes: list[str] = []
    with atomic_directory(final) as folder:
        (folder / "images").mkdir()
        for done, (study, selection) in enumerate(_selections(studies, rules=rules, left_out=left_out)):
            name = f"case{len(cases) + 1:04d}"
            patient = next(iter(selection.chosen.values())).patient_key or f"study {study.path}"
            try:
                images = _write_images(selection, folder=folder, case=name, irregular=irregular)
            except DicomError as error:
                left_out.append(f"{_place(study)}: {error}")
                continue
            owner = patients.setdefault(patient, f"patient{len(patients) + 1:04d}")
            cases.append(Case(case=name, patient=owner, split="unlabelled", images=images))
            notes += [f"{name}: {note}" for note in selection.notes]
            if progress is not None:
                progress("studies", done + 1, len(studies))
        if not cases:
            reasons = (
                "; ".join(left_out[:8]) or "; ".join(str(item) for item in scan.refused[:4]) or "it holds no series"
            )
            raise DataError(f"{scan.path}: no study fits: {reasons}", mend="`cmc data scan` lists what there is")
        datalist = Datalist(
            name=rules.name,
            modalities=rules.modalities,
            reference_modality=rules.reference_modality,
            classes=rules.classes,
            pairing=rules.pairing,
            cases=tuple(cases),
        )
        write_datalist(datalist, folder / "datalist.yaml")
    return DicomImport(final / "datalist.yaml", datalist, tuple(left_out), scan.refused, tuple(notes))


def _studies(scan: DicomScan) -> Iterator[DicomScan]:
    """The series of each study by themselves, in the order of the studies' UIDs."""
    found = defaultdict(list)
    for volume in scan.series:
        found[volume.study_instance_uid].append(volume)
    for uid in sorted(found):
        yield replace(scan, series=tuple(found[uid]), refused=())


def _selections(
    studies: list[DicomScan], *, rules: StudyRules, left_out: list[str]
) -> Iterator[tuple[DicomScan, Selection]]:
    """The choice in each study; every study that leaves one to the user is named before anything is read."""
    chosen: list[tuple[DicomScan, Selection]] = []
    unclear: list[str] = []
    reference = rules.reference_modality or rules.modalities[0].name
    for study in studies:
        try:
            selection = select_series(study, wanted=wanted_of(rules.modalities), reference=reference)
        except AmbiguousSeriesError as error:
            unclear.append(f"{_place(study)}: {error.what}")
        except DataError as error:
            left_out.append(f"{_place(study)}: {error.what.removeprefix(f'{study.path}: ')}")
        else:
            frames = {volume.frame_of_reference_uid for volume in selection.chosen.values()}
            if rules.pairing != "unpaired" and len(selection.chosen) > 1 and (len(frames) > 1 or "" in frames):
                left_out.append(f"{_place(study)}: {selection.notes[-1]}, and the list says {rules.pairing}")
            else:
                chosen.append((study, selection))
    if unclear:
        shown = "; ".join(unclear[:8]) + (f"; and {len(unclear) - 8} more" if len(unclear) > 8 else "")
        raise DataError(
            f"the rules leave a choice in {len(unclear)} of {len(studies)} studies: {shown}",
            mend="say more in `series`: words, without, contrast, orientation, b_value, min_slices",
        )
    yield from chosen


def _write_images(
    selection: Selection, *, folder: Path, case: str, irregular: Literal["refuse", "resample"]
) -> dict[str, Path]:
    volumes = {name: read_series(chosen, irregular=irregular) for name, chosen in selection.chosen.items()}
    images = {}
    for name, volume in volumes.items():
        images[name] = folder.resolve() / "images" / f"{case}_{name}.nii.gz"
        write_volume(volume, images[name])
    return images


def _place(study: DicomScan) -> str:
    return str(study.series[0].frames[0].path.parent)
