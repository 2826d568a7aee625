"""Every case of a split through the deployed path, once per subset of modalities, into tidy rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.progress import Progress
from cmc_sdk.training.data.label_values import as_classes
from cmc_sdk.training.evaluation.metrics import NSD_TOLERANCE_MM, score_labels
from cmc_sdk.training.evaluation.subsets import default_subsets, presence_name
from cmc_sdk.training.evaluation.table import Row

if TYPE_CHECKING:
    from cmc_sdk.runtime.results.result import Result
    from cmc_sdk.training.data import Case, Datalist

__all__ = ["SplitName", "evaluate_cases", "labelled_cases", "read_reference", "score_case"]

SplitName = Literal["labelled", "validation", "test"]


class Segments(Protocol):
    """What is evaluated: a `Segmenter` on a training run, or a `Session` on a bundle."""

    spec: ModelSpec

    def infer(self, images: Mapping[str, Volume], *, pairing: ScanPairing = "auto") -> Result:
        """Label the images that are given."""
        ...


def evaluate_cases(
    segmenter: Segments,
    datalist: Datalist,
    *,
    split: SplitName = "test",
    subsets: Sequence[tuple[str, ...]] | None = None,
    method: str = "cmc",
    seed: int = 0,
    pairing: ScanPairing | None = None,
    tolerance_mm: float = NSD_TOLERANCE_MM,
    progress: Progress | None = None,
) -> list[Row]:
    """Segment and score the labelled cases of a split.

    A case takes part in a subset if it has an image of each of its modalities; rows are written for those of them whose
    label it has too.

    Args:
        segmenter: A `Segmenter` or `Session`.
        datalist: The cases; its modalities and classes must be those of the segmenter.
        split: Which part of the data list.
        subsets: Of modalities, each in the network's order. None: all together and each alone, where cases allow.
        method: Written into each row.
        seed: Written into each row.
        pairing: As `Segmenter.infer`. None: as the data list says, `separate` if unpaired, else `registered`.
        tolerance_mm: Of the normalised surface Dice.
        progress: Called with ("evaluate", done, total).

    Raises:
        DataError: The data list's classes differ from the segmenter's, no case fits a subset that was asked for, a
            label lies on another grid than its image, or holds values outside the class table.
    """
    spec = segmenter.spec
    _check_classes(spec.classes, datalist.classes, name=datalist.name)
    cases = labelled_cases(datalist, split=split)
    work = [
        (case, subset)
        for case in cases
        for subset in subsets or default_subsets(spec.names)
        if set(subset) <= set(case.images)
    ]
    _check_work(work, subsets, datalist, split=split)
    how: ScanPairing = pairing or ("separate" if datalist.pairing == "unpaired" else "registered")
    rows: list[Row] = []
    for done, (case, subset) in enumerate(work):
        if progress is not None:
            progress("evaluate", done, len(work))
        result = segmenter.infer({name: read_nifti(case.images[name]) for name in subset}, pairing=how)
        rows += score_case(
            result.labels,
            case=case,
            classes=spec.classes,
            presence=presence_name(subset),
            method=method,
            seed=seed,
            tolerance_mm=tolerance_mm,
        )
    if progress is not None:
        progress("evaluate", len(work), len(work))
    return rows


def score_case(
    labels: Mapping[str, Volume],
    *,
    case: Case,
    classes: ClassTable,
    presence: str,
    method: str,
    seed: int,
    tolerance_mm: float = NSD_TOLERANCE_MM,
) -> list[Row]:
    """Rows of one case, for those of the predicted `labels` by modality whose reference the case has."""
    rows: list[Row] = []
    values = {item.name: item.index for item in classes.classes}
    for modality, predicted in labels.items():
        if modality not in case.labels:
            continue
        reference = read_reference(case, modality=modality, classes=classes)
        scores = score_labels(predicted, reference=reference, classes=values, tolerance_mm=tolerance_mm)
        rows += [
            Row(
                case=case.case,
                patient=case.patient,
                centre=case.centre,
                split=case.split,
                method=method,
                seed=seed,
                organ=organ,
                modality=modality,
                presence=presence,
                dice=score.dice,
                asd_mm=score.asd_mm,
                hd95_mm=score.hd95_mm,
                nsd=score.nsd,
                false_positive_ml=score.false_positive_ml,
                reference_ml=score.reference_ml,
                predicted_ml=score.predicted_ml,
                missed=score.missed,
            )
            for organ, score in scores.items()
        ]
    return rows


def labelled_cases(datalist: Datalist, *, split: SplitName) -> tuple[Case, ...]:
    """The cases of a split that have a label of any modality.

    Raises:
        DataError: There is none.
    """
    cases = tuple(case for case in datalist.split(split) if case.labels)
    if not cases:
        raise DataError(
            f"data list {datalist.name!r}: split {split} has no case with a label, so nothing can be measured",
            mend="name another split with --split, or give labels",
        )
    return cases


def read_reference(case: Case, *, modality: str, classes: ClassTable) -> Volume:
    """The label map of one modality of a case.

    Raises:
        DataError: It cannot be read as a label map, or holds values outside the class table.
    """
    return as_classes(read_nifti(case.labels[modality], label=True), classes=classes)


def _check_classes(ours: ClassTable, theirs: ClassTable, *, name: str) -> None:
    if ours.names != theirs.names:
        raise DataError(
            f"data list {name!r} has {len(theirs.names)} classes ({', '.join(theirs.names)}), the segmenter has "
            f"{len(ours.names)} ({', '.join(ours.names)})",
            mend="evaluate with a data list of the same classes in the same order",
        )


def _check_work(
    work: Sequence[tuple[Case, tuple[str, ...]]],
    subsets: Sequence[tuple[str, ...]] | None,
    datalist: Datalist,
    *,
    split: SplitName,
) -> None:
    served = {subset for _, subset in work}
    unserved = [presence_name(subset) for subset in subsets or () if subset not in served]
    if unserved or not work:
        asked = unserved[0] if unserved else "any modality of the segmenter"
        raise DataError(
            f"data list {datalist.name!r}: no labelled case of split {split} has images of {asked}",
            mend="ask for other modalities with --present, or for another split",
        )
