"""What is wrong with a data list, seen without opening a scan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cmc_sdk.training.data.datalist import Case, Datalist
from cmc_sdk.training.data.laterality import mirror_name, unmarked_lateral

__all__ = ["Fault", "structural_faults"]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        code: A short name for machines, for example `missing-file`.
        case: The case, or "" where it concerns the whole list.
        message: What was found, and which rule it breaks.
        mend: The way out.
        severity: An `error` stops training; a `warning` deserves a look.
    """

    code: str
    case: str
    message: str
    mend: str
    severity: Literal["error", "warning"] = "error"


def structural_faults(datalist: Datalist) -> list[Fault]:
    """Faults of splits, patients, labels, paths and class names; no file is opened."""
    faults = [*_patients(datalist), *_laterality(datalist), *_splits(datalist)]
    for case in datalist.cases:
        faults += [*_labels(case), *_files(case), *_modalities(case, datalist)]
    return faults


def _patients(datalist: Datalist) -> Iterator[Fault]:
    splits: dict[str, dict[str, str]] = defaultdict(dict)
    for case in datalist.cases:
        splits[case.patient].setdefault(case.split, case.case)
    for patient, found in splits.items():
        if len(found) > 1:
            where = ", ".join(f"{split} ({case})" for split, case in found.items())
            yield Fault(
                "patient-in-two-splits", "", f"patient {patient} stands in {where}", "keep each patient in one split"
            )


def _laterality(datalist: Datalist) -> Iterator[Fault]:
    names = datalist.classes.names
    for name in unmarked_lateral(datalist.classes):
        other = mirror_name(name)
        mend = f"add `mirror: {other}`" if other in names else f"add a class {other!r}, or do not flip"
        yield Fault("lateral-without-mirror", "", f"class {name!r} names a side but no mirror", mend, "warning")


def _splits(datalist: Datalist) -> Iterator[Fault]:
    if not datalist.split("labelled"):
        yield Fault("empty-split", "", "no case is in split labelled", "training needs at least one labelled case")
    if not datalist.split("validation"):
        yield Fault("empty-split", "", "no case is in split validation", "add one to choose the checkpoint", "warning")


def _labels(case: Case) -> Iterator[Fault]:
    if case.split == "unlabelled":
        if case.labels:
            names = ", ".join(case.labels)
            yield Fault(
                "label-never-read", case.case, f"unlabelled, but names labels of {names}: they are never read",
                "leave them out, or move the case to another split", "warning",
            )  # fmt: skip
        return
    for name in case.images:
        if name not in case.labels:
            yield Fault(
                "missing-label", case.case, f"split {case.split}, but its {name} image has no label",
                "name the label, or move the case to split unlabelled",
            )  # fmt: skip
    for name in case.labels:
        if name not in case.images:
            yield Fault(
                "label-without-image", case.case, f"a label of {name}, of which the case has no image",
                "name the image or drop the label",
            )  # fmt: skip


def _files(case: Case) -> Iterator[Fault]:
    labels = {} if case.split == "unlabelled" else case.labels
    for kind, paths in (("image", case.images), ("label", labels)):
        for name, path in paths.items():
            if not path.is_file():
                yield Fault("missing-file", case.case, f"{name} {kind} {path} does not exist", "correct the path")


def _modalities(case: Case, datalist: Datalist) -> Iterator[Fault]:
    absent = [name for name in datalist.modality_names if name not in case.images]
    if absent and datalist.pairing != "unpaired":
        yield Fault(
            "missing-modality", case.case, f"{datalist.pairing}, but it has no image of {', '.join(absent)}",
            "nothing, if that is so: it is used with the modalities that it has", "warning",
        )  # fmt: skip
