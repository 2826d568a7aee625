"""What the finished run is worth: Dice of each subset of modalities, and the ranges that validation saw."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric

from cmc_sdk.bundle.manifest import ModelSpec, SeenRange, SubsetScore
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.scans.prepared import prepare_scan
from cmc_sdk.training.data import Case
from cmc_sdk.training.engine.validation import Scores, Segments, mean_dice, measure, validation_cases
from cmc_sdk.training.losses import fused_minus_alone

__all__ = ["final_scores", "gaps", "seen_ranges", "subset_scores", "subsets"]


def subsets(spec: ModelSpec) -> list[tuple[str, ...]]:
    """The subsets that the network may be asked for: every non-empty one, largest first; singles if unpaired."""
    sizes = (1,) if spec.pairing == "unpaired" else range(len(spec.names), 0, -1)
    return [subset for size in sizes for subset in itertools.combinations(spec.names, size)]


def final_scores(
    segmenter: Segments,
    cases: Sequence[Case],
    *,
    batch: int,
    fabric: Fabric,
    progress: Progress | None = None,
) -> dict[tuple[str, ...], Scores]:
    """Measure every subset on all `cases`. Each Scores has a row for every case, NaN where it lacks the subset."""
    found: dict[tuple[str, ...], Scores] = {}
    for subset in subsets(segmenter.spec):
        fitting = validation_cases(cases, subset=subset)
        if fitting:
            name = f"validation {'+'.join(subset)}"
            scores = measure(
                segmenter, fitting, subset=subset, batch=batch, fabric=fabric, progress=progress, stage=name
            )
            found[subset] = _spread(scores, [cases.index(case) for case in fitting], count=len(cases))
    return found


def subset_scores(found: dict[tuple[str, ...], Scores], *, spec: ModelSpec) -> list[SubsetScore]:
    """The scores as they stand in a bundle's manifest."""
    rows = []
    for subset, scores in found.items():
        mean, table = mean_dice(scores)
        dice = {
            name: {organ: _number(table[spec.names.index(name), k]) for k, organ in enumerate(spec.classes.names)}
            for name in subset
        }
        cases = int(np.isfinite(scores.predicted_ml).any(axis=(1, 2)).sum())
        rows.append(SubsetScore(present=subset, dice=dice, mean_dice=_number(mean), cases=cases))
    return rows


def gaps(found: dict[tuple[str, ...], Scores], *, spec: ModelSpec) -> dict[str, float]:
    """Fused-minus-alone Dice by modality; a large negative one exposes a harmful CAC. Empty for unpaired data."""
    together = found.get(spec.names)
    if together is None or len(spec.names) == 1:
        return {}
    return {
        name: fused_minus_alone(
            together.dice[:, index].ravel().tolist(), found[(name,)].dice[:, index].ravel().tolist()
        )
        for index, name in enumerate(spec.names)
        if (name,) in found
    }


def seen_ranges(
    found: dict[tuple[str, ...], Scores], cases: Sequence[Case], *, spec: ModelSpec
) -> dict[str, SeenRange]:
    """What validation saw of each modality: intensity, spacing, field of view, organ volumes and confidence.

    Organ volumes are those of the references; confidence is over all subsets that were measured.
    """
    ranges = {}
    for index, modality in enumerate(spec.modalities):
        mine = [case for case in cases if modality.name in case.images]
        if not mine:
            continue
        means: list[float] = []
        spacing: list[float] = []
        extent: list[float] = []
        for case in mine:
            volume = read_nifti(case.images[modality.name])
            means.append(prepare_scan(volume, rule=modality.intensity).statistics.foreground_mean)
            spacing += volume.spacing_mm
            extent += [step * size for step, size in zip(volume.spacing_mm, volume.size_vox, strict=True)]
        low, high = np.percentile(means, (1, 99))
        measured = [scores for subset, scores in found.items() if modality.name in subset]
        confidence = np.concatenate([scores.confidence[:, index] for scores in measured]) if measured else np.empty(0)
        ranges[modality.name] = SeenRange(
            intensity=(float(low), float(high)),
            spacing_mm=(min(spacing), max(spacing)),
            extent_mm=(min(extent), max(extent)),
            volumes_ml=_volumes(measured, index=index, spec=spec),
            confidence=_range(confidence),
        )
    return ranges


def _volumes(measured: Sequence[Scores], *, index: int, spec: ModelSpec) -> dict[str, tuple[float, float]]:
    volumes: dict[str, tuple[float, float]] = {}
    for k, organ in enumerate(spec.classes.names):
        values = np.concatenate([scores.reference_ml[:, index, k] for scores in measured]) if measured else np.empty(0)
        span = _range(np.where(values > 0, values, math.nan))
        if span is not None:
            volumes[organ] = span
    return volumes


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _spread(scores: Scores, rows: Sequence[int], *, count: int) -> Scores:
    """The same scores with a row for each of `count` cases, NaN where a case was not measured."""

    def full(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        wide = np.full((count, *array.shape[1:]), math.nan)
        wide[list(rows)] = array
        return wide

    return Scores(full(scores.dice), full(scores.reference_ml), full(scores.predicted_ml), full(scores.confidence))
