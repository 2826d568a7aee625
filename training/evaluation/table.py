"""Tidy rows of an evaluation, their files, and their summaries with confidence intervals over patients."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import numpy.typing as npt

from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import DataError

__all__ = ["MEAN", "Row", "Summary", "mean_dice", "read_csv", "summarise", "write_csv", "write_json"]

MEAN = "mean"
"""Organ name of the row that averages over organs."""

BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class Row:
    """One organ of one modality of one case, segmented with one subset of the modalities.

    Args:
        presence: The modalities that were given, joined with "+" in the network's order, for example "ct+mr".
        dice, asd_mm, hd95_mm, nsd, false_positive_ml, reference_ml, predicted_ml, missed: See `OrganScore`.
    """

    case: str
    patient: str
    centre: str
    split: str
    method: str
    seed: int
    organ: str
    modality: str
    presence: str
    dice: float
    asd_mm: float
    hd95_mm: float
    nsd: float
    false_positive_ml: float
    reference_ml: float
    predicted_ml: float
    missed: bool


@dataclass(frozen=True)
class Summary:
    """The mean over cases of one organ; for organ `mean`, the mean over organs of those means.

    Args:
        cases: Cases that hold the organ; for `mean`, cases that hold any.
        dice: Mean; NaN where no case holds the organ.
        dice_low: 2.5th percentile of the mean over 2000 bootstrap samples of patients.
        dice_high: 97.5th percentile.
        missed: How often an organ that is there was missed wholly (counted in the means with Dice 0 and the diagonal).
    """

    method: str
    modality: str
    presence: str
    organ: str
    cases: int
    dice: float
    dice_low: float
    dice_high: float
    asd_mm: float
    hd95_mm: float
    nsd: float
    false_positive_ml: float
    missed: int


def summarise(rows: Sequence[Row], *, seed: int = 0) -> list[Summary]:
    """Means per method × modality × presence, organ by organ and then over organs, in order of appearance.

    Args:
        rows: Of any number of methods and seeds; the seeds of one method are pooled.
        seed: Of the bootstrap.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.method, row.modality, row.presence), []).append(row)
    summaries: list[Summary] = []
    for (method, modality, presence), group in groups.items():
        organs = list(dict.fromkeys(row.organ for row in group))
        for organ in organs:
            members = [row for row in group if row.organ == organ]
            summaries.append(_summary(members, (method, modality, presence, organ), [organ], seed=seed))
        if len(organs) > 1:
            summaries.append(_summary(group, (method, modality, presence, MEAN), organs, seed=seed))
    return summaries


def mean_dice(rows: Iterable[Row]) -> float:
    """Mean over cases, then over organs; NaN without a case that holds an organ."""
    by_organ: dict[str, list[float]] = {}
    for row in rows:
        by_organ.setdefault(row.organ, []).append(row.dice)
    return _mean([_mean(values) for values in by_organ.values()])


def write_csv(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Write one line per row, with a header; NaN is written `nan`, numbers in full."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**asdict(row), "missed": str(row.missed).lower()})


def read_csv(path: str | os.PathLike[str]) -> list[Row]:
    """Read what `write_csv` wrote.

    Raises:
        DataError: A column is missing or a value does not parse.
    """
    rows: list[Row] = []
    with open(path, newline="", encoding="utf-8") as handle:
        for number, line in enumerate(csv.DictReader(handle), start=2):
            try:
                rows.append(_row(line))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}, line {number}: not a row of an evaluation ({error})") from error
    return rows


def write_json(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Write `{"rows": [...], "summary": [...]}`; NaN becomes null, since JSON has none."""
    document = {"rows": as_records(rows), "summary": as_records(summarise(rows))}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def as_records(items: Iterable[Row | Summary]) -> list[dict[str, object]]:
    """Plain dictionaries with None for NaN."""
    return [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(item).items()}
        for item in items
    ]


def _row(line: Mapping[str, str]) -> Row:
    """One line of a file, by column."""
    return Row(
        case=line["case"],
        patient=line["patient"],
        centre=line["centre"],
        split=line["split"],
        method=line["method"],
        seed=int(line["seed"]),
        organ=line["organ"],
        modality=line["modality"],
        presence=line["presence"],
        dice=float(line["dice"]),
        asd_mm=float(line["asd_mm"]),
        hd95_mm=float(line["hd95_mm"]),
        nsd=float(line["nsd"]),
        false_positive_ml=float(line["false_positive_ml"]),
        reference_ml=float(line["reference_ml"]),
        predicted_ml=float(line["predicted_ml"]),
        missed=line["missed"] == "true",
    )


def _summary(rows: Sequence[Row], key: tuple[str, str, str, str], organs: Sequence[str], *, seed: int) -> Summary:
    method, modality, presence, organ = key

    def over_organs(column: str) -> float:
        return _mean([_mean([getattr(row, column) for row in rows if row.organ == name]) for name in organs])

    low, high = _bootstrap_interval(rows, organs, seed=seed)
    return Summary(
        method=method,
        modality=modality,
        presence=presence,
        organ=organ,
        cases=len({(row.case, row.seed) for row in rows if not math.isnan(row.dice)}),
        dice=over_organs("dice"),
        dice_low=low,
        dice_high=high,
        asd_mm=over_organs("asd_mm"),
        hd95_mm=over_organs("hd95_mm"),
        nsd=over_organs("nsd"),
        false_positive_ml=over_organs("false_positive_ml"),
        missed=sum(row.missed for row in rows),
    )


def _bootstrap_interval(rows: Sequence[Row], organs: Sequence[str], *, seed: int) -> tuple[float, float]:
    """95 % interval of the mean Dice when patients are drawn with replacement; NaN with fewer than two patients."""
    patients = list(dict.fromkeys(row.patient for row in rows))
    if len(patients) < 2:
        return math.nan, math.nan
    total = np.zeros((len(patients), len(organs)))
    count = np.zeros_like(total)
    for row in rows:
        if not math.isnan(row.dice):
            place = patients.index(row.patient), organs.index(row.organ)
            total[place] += row.dice
            count[place] += 1
    share = np.full(len(patients), 1.0 / len(patients))
    times = np.random.default_rng(seed).multinomial(len(patients), share, size=BOOTSTRAP_SAMPLES)
    means = _nan_mean(_quotient(times @ total, times @ count))
    means = means[np.isfinite(means)]
    if means.size == 0:
        return math.nan, math.nan
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _quotient(total: npt.NDArray[np.float64], count: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def _nan_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the last axis of what is known; NaN where nothing is (without numpy's warning)."""
    known = np.isfinite(values)
    return _quotient(np.where(known, values, 0.0).sum(-1), known.sum(-1).astype(np.float64))
