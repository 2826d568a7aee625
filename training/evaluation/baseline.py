"""The nearest-class-mean rule: what intensity alone can tell, voxel by voxel.

A segmenter that does not beat it has learned nothing of shape or place; a phantom on which it does well is too easy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModalitySpec
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.core import intensity_statistics, normalise
from cmc_sdk.training.evaluation.evaluate import SplitName, labelled_cases, read_reference, score_case
from cmc_sdk.training.evaluation.metrics import NSD_TOLERANCE_MM
from cmc_sdk.training.evaluation.table import Row

if TYPE_CHECKING:
    from cmc_sdk.training.data import Datalist

__all__ = ["METHOD", "NearestClassMean", "evaluate_baseline", "fit_nearest_class_mean"]

METHOD = "nearest_class_mean"
SLAB_VOXELS = 4_000_000


@dataclass(frozen=True)
class NearestClassMean:
    """Labels a voxel with the class whose mean normalised intensity lies nearest to its own.

    Args:
        modality: With the intensity rule.
        means: (K,) float64, mean normalised intensity of each class, background first; NaN for a class never seen.
    """

    modality: ModalitySpec
    means: npt.NDArray[np.float64]

    def label(self, image: Volume) -> Volume:
        """Label map, uint8, on the image's own grid."""
        labels = np.empty(image.size_vox, np.uint8)
        known = np.flatnonzero(np.isfinite(self.means))
        ordered = known[np.argsort(self.means[known], kind="stable")]
        borders = (self.means[ordered][1:] + self.means[ordered][:-1]) / 2
        for slab, values in _normalised_slabs(image, modality=self.modality):
            labels[:, :, slab] = ordered[np.searchsorted(borders, values)]
        return image.with_array(labels)


def fit_nearest_class_mean(datalist: Datalist, *, modality: ModalitySpec) -> NearestClassMean:
    """Class means over all voxels of the labelled split's cases.

    Raises:
        DataError: No case of the split `labelled` has this modality's image and label.
    """
    classes = datalist.classes
    total, count = np.zeros(classes.num_classes), np.zeros(classes.num_classes)
    for case in datalist.split("labelled"):
        if modality.name not in case.labels:
            continue
        reference = read_reference(case, modality=modality.name, classes=classes).stored
        for slab, values in _normalised_slabs(read_nifti(case.images[modality.name]), modality=modality):
            part = reference[:, :, slab].ravel()
            total += np.bincount(part, weights=values.ravel(), minlength=classes.num_classes)
            count += np.bincount(part, minlength=classes.num_classes)
    if not count.any():
        raise DataError(
            f"data list {datalist.name!r}: no labelled case has {modality.name}, so the class means are unknown",
            mend="label a case of that modality, or leave the baseline out",
        )
    with np.errstate(invalid="ignore"):
        return NearestClassMean(modality=modality, means=total / count)


def evaluate_baseline(
    datalist: Datalist,
    *,
    split: SplitName = "test",
    tolerance_mm: float = NSD_TOLERANCE_MM,
    progress: Progress | None = None,
) -> list[Row]:
    """Rows of the rule, fitted on the labelled split, for each modality alone.

    Raises:
        DataError: As `fit_nearest_class_mean` and `labelled_cases`.
    """
    cases = labelled_cases(datalist, split=split)
    rows: list[Row] = []
    work = [(modality, case) for modality in datalist.modalities for case in cases if modality.name in case.labels]
    rules: dict[str, NearestClassMean] = {}
    for done, (modality, case) in enumerate(work):
        if progress is not None:
            progress("nearest class mean", done, len(work))
        if modality.name not in rules:
            rules[modality.name] = fit_nearest_class_mean(datalist, modality=modality)
        labels = {modality.name: rules[modality.name].label(read_nifti(case.images[modality.name]))}
        rows += score_case(
            labels,
            case=case,
            classes=datalist.classes,
            presence=modality.name,
            method=METHOD,
            seed=0,
            tolerance_mm=tolerance_mm,
        )
    if progress is not None:
        progress("nearest class mean", len(work), len(work))
    return rows


def _normalised_slabs(image: Volume, *, modality: ModalitySpec) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Slabs along the last axis, so that a large scan is never held twice."""
    statistics = intensity_statistics(image, modality.intensity)
    x, y, z = image.size_vox
    step = max(1, SLAB_VOXELS // (x * y))
    for start in range(0, z, step):
        slab = slice(start, min(start + step, z))
        values = image.true_values(image.stored[:, :, slab])
        yield slab, normalise(values, rule=modality.intensity, statistics=statistics)
