"""Measuring a network on whole cases, by the sliding window that will be deployed, on the original grids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.results.result import Result
from cmc_sdk.training.data import Case
from cmc_sdk.training.evaluation.evaluate import read_reference

__all__ = ["Scores", "deployed_subset", "mean_dice", "measure", "validation_cases"]

Array = npt.NDArray[np.float64]


class Segments(Protocol):
    """What is measured: a `cmc_sdk.runtime.segmenter.Segmenter`."""

    spec: ModelSpec

    def infer(self, images: Mapping[str, Volume], *, pairing: ScanPairing = "auto", batch: int = 1) -> Result:
        """Label the images that are given."""
        ...


@dataclass(frozen=True)
class Scores:
    """What was measured of N cases with one subset of the M modalities present; NaN where there is nothing to measure.

    Args:
        dice: (N, M, K-1); NaN where the reference lacks the organ, 0 where it was missed.
        reference_ml: (N, M, K-1), volume in the reference.
        predicted_ml: (N, M, K-1), volume in the prediction.
        confidence: (N, M), mean over the predicted foreground voxels, [0, 1].
    """

    dice: Array
    reference_ml: Array
    predicted_ml: Array
    confidence: Array

    @property
    def foreground_ratio(self) -> Array:
        """(M,): predicted over reference foreground volume; far above 1 is how a harmful CAC shows."""
        reference = np.nansum(self.reference_ml, axis=(0, 2))
        predicted = np.nansum(self.predicted_ml, axis=(0, 2))
        ratio: Array = np.divide(predicted, reference, out=np.full_like(predicted, math.nan), where=reference > 0)
        return ratio


def validation_cases(cases: Sequence[Case], *, subset: Sequence[str]) -> list[Case]:
    """The cases that have an image of every modality of `subset`, and a label of at least one."""
    return [case for case in cases if set(subset) <= set(case.images) and set(subset) & set(case.labels)]


def deployed_subset(case: Case, *, spec: ModelSpec) -> tuple[str, ...]:
    """The modalities that a case is validated with: all that it has, in the network's order."""
    return tuple(name for name in spec.names if name in case.images)


def measure(
    segmenter: Segments,
    cases: Sequence[Case],
    *,
    subset: Sequence[str] | None,
    batch: int,
    fabric: Fabric,
    progress: Progress | None = None,
    stage: str = "validation",
) -> Scores:
    """Segment `cases` and compare with their labels. Each process takes its share; all get the same scores.

    A registered or misaligned pair is sampled in its common frame; with an unpaired data list each modality is
    segmented alone: as the bundle will be used.

    Args:
        segmenter: Around the network.
        cases: With images of `subset`.
        subset: Modalities that are given; None: all that each case has.
        batch: Windows at once.
        fabric: Launched.
        progress: Called with (stage, done, total) in this process.
        stage: What to call the work in `progress`.

    Raises:
        DataError: A label lies on another grid than its image, or holds values outside the class table.
    """
    spec = segmenter.spec
    organs = spec.classes.num_classes - 1
    shape = (len(cases), len(spec.names))
    dice, reference_ml, predicted_ml = (np.full((*shape, organs), math.nan) for _ in range(3))
    scores = Scores(dice, reference_ml, predicted_ml, np.full(shape, math.nan))
    mine = range(fabric.global_rank, len(cases), fabric.world_size)
    for done, index in enumerate(mine):
        if progress is not None:
            progress(stage, done, len(mine))
        case = cases[index]
        names = deployed_subset(case, spec=spec) if subset is None else tuple(subset)
        images = {name: read_nifti(case.images[name]) for name in names}
        pairing: ScanPairing = "separate" if spec.pairing == "unpaired" else "registered"
        result = segmenter.infer(images, pairing=pairing, batch=batch)
        for name in names:
            if name in case.labels:
                reference = read_reference(case, modality=name, classes=spec.classes)
                place = (index, spec.names.index(name))
                _score(scores, place, result.labels[name], result.confidence[name], reference=reference, spec=spec)
    if progress is not None:
        progress(stage, len(mine), len(mine))
    return _gather(scores, fabric=fabric)


def mean_dice(scores: Scores) -> tuple[float, Array]:
    """Mean over modalities of the mean over organs of the mean over cases, and that last mean by modality and organ.

    Returns:
        The mean (NaN if nothing was measured), and (M, K-1).
    """
    table = _nanmean(scores.dice, axis=0)
    return float(_nanmean(_nanmean(table, axis=1), axis=0)), table


def _score(
    scores: Scores,
    place: tuple[int, int],
    labels: Volume,
    confidence: Volume,
    *,
    reference: Volume,
    spec: ModelSpec,
) -> None:
    if not labels.same_grid(reference):
        raise DataError(
            f"{reference.name}: the label of size {reference.size_vox} does not lie on its image's grid "
            f"({labels.size_vox})",
            mend="give the label on its image's grid; `cmc data check` names every such case",
        )
    count = spec.classes.num_classes
    predicted = labels.stored.astype(np.int64)
    pairs = reference.data.astype(np.int64) * count + predicted
    table = np.bincount(pairs.ravel(), minlength=count * count).reshape(count, count)
    in_reference, in_predicted = table.sum(axis=1)[1:], table.sum(axis=0)[1:]
    both = 2.0 * np.diagonal(table)[1:]
    scores.dice[place] = np.where(in_reference > 0, both / np.maximum(1, in_reference + in_predicted), math.nan)
    scores.reference_ml[place] = in_reference * reference.voxel_volume_ml
    scores.predicted_ml[place] = in_predicted * reference.voxel_volume_ml
    if in_predicted.sum() > 0:
        scores.confidence[place] = float(confidence.stored[predicted > 0].mean()) / 255.0


def _gather(scores: Scores, *, fabric: Fabric) -> Scores:
    """Each entry was measured by one process at most: the sum of what is finite, NaN where nobody measured."""
    if fabric.world_size == 1:
        return scores
    gathered = []
    for item in fields(Scores):
        array = getattr(scores, item.name)
        both = np.stack([np.nan_to_num(array), np.isfinite(array).astype(np.float64)])
        total = fabric.all_reduce(torch.from_numpy(both).to(fabric.device), reduce_op="sum")
        values, measured = total.cpu().numpy()  # type: ignore[union-attr]
        gathered.append(np.where(measured > 0, values, math.nan))
    return Scores(*gathered)


def _nanmean(array: Array, *, axis: int) -> Array:
    """Mean over what is not NaN; NaN, without a warning, where all is."""
    finite = np.isfinite(array)
    count = finite.sum(axis=axis)
    total = np.where(finite, array, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(1, count), math.nan)
