"""The quality flag of a case: what speaks against using its labels as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec, SeenRange, SubsetScore
from cmc_sdk.runtime.core import count_components
from cmc_sdk.runtime.results.labelled import Labelled
from cmc_sdk.runtime.results.result import Quality
from cmc_sdk.runtime.scans.prepared import PreparedScan

__all__ = ["judge"]

Level = Literal["review", "reject"]
Finding = tuple[Level, str]

MARGIN = 0.25
"""A value may lie outside what validation saw by this share of the range's larger end before it counts."""
FAR = 3.0
"""An intensity this many times further out than `MARGIN` allows is another kind of scan: reject."""
MIN_AGREEMENT = 0.5
"""Least Dice between two modalities' labels of one class, on one grid, before they count as disagreeing."""


def judge(
    *,
    spec: ModelSpec,
    scans: Mapping[str, PreparedScan],
    labelled: Mapping[str, Labelled],
    volumes_ml: Mapping[str, Mapping[str, float]],
    groups: Sequence[Sequence[str]],
    seen: Mapping[str, SeenRange],
    validated_subsets: Sequence[SubsetScore],
) -> Quality:
    """Compare a case with what validation saw.

    Reject: a scan without contrast, or an intensity far outside. Review: intensity, spacing, field of view, class
    volume, components or foreground confidence outside (by more than a quarter of the range's larger end), no
    foreground where validation always had some, a subset of modalities that was not validated, and modalities on one
    grid whose labels of a class agree with a Dice below 0.5. What validation did not record is not judged.

    Args:
        spec: Of the network.
        scans: By modality.
        labelled: What they became.
        volumes_ml: By modality and class.
        groups: Which modalities were labelled together.
        seen: Ranges of validation, by modality.
        validated_subsets: Subsets of modalities with a validation score.
    """
    found: list[Finding] = []
    for name, scan in scans.items():
        found += _scan(name, scan, seen=seen.get(name, SeenRange()))
        found += _labels(name, labelled[name], volumes_ml[name], spec=spec, seen=seen.get(name, SeenRange()))
    validated = {frozenset(item.present) for item in validated_subsets}
    for group in groups:
        if validated and frozenset(group) not in validated:
            found.append(("review", f"{' + '.join(group)}: this subset of modalities was not validated"))
        found += _disagreements(group, scans=scans, labelled=labelled, spec=spec)
    levels = {level for level, _ in found}
    status: Literal["ok", "review", "reject"] = "ok"
    if levels:
        status = "reject" if "reject" in levels else "review"
    return Quality(status, tuple(reason for _, reason in found))


def _scan(name: str, scan: PreparedScan, *, seen: SeenRange) -> list[Finding]:
    found: list[Finding] = []
    volume, statistics = scan.volume, scan.statistics
    if statistics.minimum == statistics.maximum:
        found.append(("reject", f"{name}: the scan holds one value everywhere"))
        return found
    if seen.intensity is not None:
        excess = _excess(statistics.foreground_mean, seen.intensity)
        if excess > 0:
            level: Level = "reject" if excess > FAR else "review"
            found.append((level, _outside(name, "mean intensity", statistics.foreground_mean, seen.intensity, "")))
    extent = [size * spacing for size, spacing in zip(volume.size_vox, volume.spacing_mm, strict=True)]
    for what, values, limits in (
        ("spacing", volume.spacing_mm, seen.spacing_mm),
        ("field of view", extent, seen.extent_mm),
    ):
        if limits is not None:
            worst = max(values, key=lambda value: _excess(value, limits))
            if _excess(worst, limits) > 0:
                found.append(("review", _outside(name, what, worst, limits, " mm")))
    return found


def _labels(
    name: str, labelled: Labelled, volumes_ml: Mapping[str, float], *, spec: ModelSpec, seen: SeenRange
) -> list[Finding]:
    found: list[Finding] = []
    foreground = int(labelled.counts[1:].sum())
    if foreground == 0:
        if seen.volumes_ml:
            found.append(("review", f"{name}: no class was found; every validation case had some"))
        return found
    if seen.confidence is not None:
        confidence = float(labelled.confidence_sums[1:].sum()) / foreground
        if confidence < seen.confidence[0] - MARGIN * (1 - seen.confidence[0]):
            found.append(("review", _outside(name, "foreground confidence", confidence, seen.confidence, "")))
    pieces = count_components(labelled.labels, num_classes=spec.classes.num_classes) if seen.components else []
    for item in spec.classes.classes:
        limits = seen.volumes_ml.get(item.name)
        volume = volumes_ml[item.name]
        if limits is not None and volume > 0 and _excess(volume, limits) > 0:
            found.append(("review", _outside(name, f"volume of {item.name}", volume, limits, " ml")))
        most = seen.components.get(item.name)
        if most is not None and volume > 0:
            count = pieces[item.index]
            if count > 2 * most + 2:
                found.append(("review", f"{name}: {item.name} is in {count} pieces; validation had {most} at most"))
    return found


def _disagreements(
    group: Sequence[str], *, scans: Mapping[str, PreparedScan], labelled: Mapping[str, Labelled], spec: ModelSpec
) -> list[Finding]:
    found: list[Finding] = []
    for index, first in enumerate(group):
        for second in group[index + 1 :]:
            if not scans[first].volume.same_grid(scans[second].volume):
                continue
            a, b = labelled[first], labelled[second]
            same = _agreeing(a.labels, b.labels, num_classes=spec.classes.num_classes)
            for item in spec.classes.classes:
                total = int(a.counts[item.index] + b.counts[item.index])
                dice = 2.0 * int(same[item.index]) / total if total else 1.0
                if dice < MIN_AGREEMENT:
                    reason = f"{first} and {second} disagree on {item.name}: Dice {dice:.2f} between their labels"
                    found.append(("review", reason))
    return found


def _agreeing(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], *, num_classes: int) -> npt.NDArray[np.int64]:
    """(K,): voxels of each class on which both agree; slice by slice, so that no whole mask is made."""
    same = np.zeros(num_classes, np.int64)
    for first, second in zip(a, b, strict=True):
        same += np.bincount(first[first == second], minlength=num_classes)
    return same


def _excess(value: float, limits: tuple[float, float]) -> float:
    """How far `value` lies outside `limits`, in units of the margin; 0 or less within the margin."""
    low, high = limits
    margin = MARGIN * max(abs(low), abs(high), 1e-9)
    return max(low - value, value - high) / margin - 1.0


def _outside(name: str, what: str, value: float, limits: tuple[float, float], unit: str) -> str:
    return f"{name}: {what} {value:.4g}{unit} is outside {limits[0]:.4g} to {limits[1]:.4g}{unit} seen in validation"
