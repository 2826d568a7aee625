"""The table: Δ Dice against supervised-only with bootstrap intervals, and whether the bar is met."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.method.arms import Arm, Scores
from benchmarks.method.task import MODALITIES
from cmc_sdk.runtime.host.processor import processor_name

BAR = 0.015
RESAMPLES = 10_000
REFERENCE = "supervised-only"
GAIN = "CAC alone (world .5)"
CONTROL = "CAC world .5, unasserted"


@dataclass(frozen=True)
class Delta:
    """Mean difference of Dice over patients, with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def delta(scores: Sequence[Scores], reference: Sequence[Scores], *, shown: str, modality: str) -> Delta:
    """Difference to the reference: mean over seeds per patient, then patients resampled 10 000 times."""
    difference = np.mean(
        [
            np.subtract(one[shown][modality], other[shown][modality])
            for one, other in zip(scores, reference, strict=True)
        ],
        axis=0,
    )
    draws = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.percentile(difference[draws].mean(axis=1), (2.5, 97.5))
    return Delta(float(difference.mean()), float(low), float(high))


def table(results: Mapping[Arm, Sequence[Scores]]) -> list[dict[str, Any]]:
    """One row per arm: mean Dice and Δ by modality, with both shown and with each alone."""
    rows = []
    for arm, scores in results.items():
        reference = next(value for other, value in results.items() if (other.data, other.name) == (arm.data, REFERENCE))
        row: dict[str, Any] = {"data": arm.data, "arm": arm.name}
        for shown in ("both", "alone"):
            for name in MODALITIES:
                dice = float(np.mean([item[shown][name] for item in scores]))
                row[f"{shown}/{name}"] = {"dice": dice, "delta": delta(scores, reference, shown=shown, modality=name)}
        rows.append(row)
    return rows


def verdicts(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """What the benchmark must show, by its sentence."""
    weaker = {row["arm"]: row["both/b"]["delta"] for row in rows}
    gain, control = weaker[GAIN], weaker[CONTROL]
    return {
        f"registered {GAIN}: Δ b ≥ +{BAR} with its interval above 0": gain.mean >= BAR and gain.low > 0,
        f"misaligned {CONTROL}: no such gain": not (control.mean >= BAR and control.low > 0),
    }


def as_text(rows: Sequence[Mapping[str, Any]], *, seeds: int, patients: int) -> str:
    """The table for a person."""
    lines = [
        f"Δ Dice against supervised-only of the same data: mean over {patients} test patients and {seeds} seed(s),"
        " 95 % bootstrap over patients.",
        "a: the image. b: the derived, weaker contrast. Both shown to the network; last column: b with a absent.",
        "",
        f"{'data':<11} {'arm':<26} {'Dice a':>7} {'Dice b':>7}   {'Δ a':<24} {'Δ b':<24} {'Δ b alone':<24}",
    ]
    for row in rows:
        first, second, alone = (row[key] for key in ("both/a", "both/b", "alone/b"))
        is_reference = row["arm"] == REFERENCE
        shown = ("",) * 3 if is_reference else (str(first["delta"]), str(second["delta"]), str(alone["delta"]))
        lines.append(
            f"{row['data']:<11} {row['arm']:<26} {first['dice']:>7.3f} {second['dice']:>7.3f}   "
            f"{shown[0]:<24} {shown[1]:<24} {shown[2]:<24}".rstrip()
        )
    lines.append("")
    lines += [f"{'met   ' if met else 'MISSED'}  {sentence}" for sentence, met in verdicts(rows).items()]
    return "\n".join(lines)


def as_document(
    results: Mapping[Arm, Sequence[Scores]], *, seeds: Sequence[int], settings: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """The same for a machine, with what it was measured on."""
    rows = table(results)
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "cpu": processor_name(),
        "python": platform.python_version(),
        "seconds": round(seconds),
        "seeds": list(seeds),
        "settings": dict(settings),
        "met": verdicts(rows),
        "rows": [_plain(row) for row in rows],
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            interval = value["delta"]
            numbers: npt.NDArray[np.float64] = np.array([interval.mean, interval.low, interval.high])
            plain[key] = {"dice": round(value["dice"], 4), "delta": numbers.round(4).tolist()}
        else:
            plain[key] = value
    return plain
