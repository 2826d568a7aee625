"""Rows, their files and their summaries."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.errors import DataError
from cmc_sdk.training.evaluation.table import Row, mean_dice, read_csv, summarise, write_csv, write_json

BASE = Row(
    case="c0", patient="p0", centre="A", split="test", method="cmc", seed=0, organ="liver", modality="ct",
    presence="ct+mr", dice=0.5, asd_mm=1.0, hd95_mm=2.0, nsd=0.9, false_positive_ml=0.25, reference_ml=10.0,
    predicted_ml=9.0, missed=False,
)  # fmt: skip


def row(patient: str, organ: str, dice: float, **changes: object) -> Row:
    return dataclasses.replace(BASE, case=f"case-{patient}", patient=patient, organ=organ, dice=dice, **changes)


def test_csv_goes_round_and_keeps_nan(tmp_path: Path) -> None:
    rows = [BASE, row("p1", "spleen", math.nan, asd_mm=math.nan), row("p2", "liver", 0.0, missed=True)]
    write_csv(rows, tmp_path / "rows.csv")
    back = read_csv(tmp_path / "rows.csv")
    assert str(back) == str(rows)
    with open(tmp_path / "rows.csv", newline="") as handle:
        lines = list(csv.reader(handle))
    assert lines[0] == [field.name for field in dataclasses.fields(Row)]
    assert "nan" in lines[2]
    assert lines[3][-1] == "true"


def test_json_has_null_for_nan(tmp_path: Path) -> None:
    write_json([BASE, row("p1", "spleen", math.nan)], tmp_path / "rows.json")
    document = json.loads((tmp_path / "rows.json").read_text())
    assert document["rows"][1]["dice"] is None
    assert {"liver", "spleen", "mean"} == {entry["organ"] for entry in document["summary"]}


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("case,patient\na,b\n")
    with pytest.raises(DataError, match=r"rows\.csv, line 2"):
        read_csv(tmp_path / "rows.csv")


def test_the_mean_is_over_cases_then_over_organs_and_absent_organs_do_not_count() -> None:
    rows = [row("p0", "liver", 0.9), row("p1", "liver", 0.7), row("p0", "spleen", 0.4), row("p1", "spleen", math.nan)]
    by_organ = {summary.organ: summary for summary in summarise(rows)}
    assert by_organ["liver"].dice == pytest.approx(0.8)
    assert by_organ["spleen"].dice == pytest.approx(0.4)
    assert by_organ["spleen"].cases == 1
    assert by_organ["mean"].dice == pytest.approx(0.6) == pytest.approx(mean_dice(rows))
    assert by_organ["mean"].cases == 2


def test_the_interval_resamples_patients_not_rows() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(0.7, 0.1, 40)
    rows = [row(f"p{i}", organ, float(level[i])) for i in range(40) for organ in ("liver", "spleen", "kidney")]
    mean = next(summary for summary in summarise(rows) if summary.organ == "mean")
    half = 1.96 * level.std() / math.sqrt(40)
    assert mean.dice_high - mean.dice_low == pytest.approx(2 * half, rel=0.15)
    assert mean.dice_low < mean.dice < mean.dice_high
    assert summarise(rows) == summarise(rows)


def test_groups_and_missed_organs() -> None:
    rows = [
        row("p0", "liver", 0.0, missed=True), row("p1", "liver", 0.8), row("p0", "liver", 0.6, presence="ct"),
        row("p0", "liver", 0.3, method="other"),
    ]  # fmt: skip
    summaries = {(entry.method, entry.presence): entry for entry in summarise(rows)}
    assert summaries[("cmc", "ct+mr")].missed == 1
    assert summaries[("cmc", "ct+mr")].dice == pytest.approx(0.4)
    assert summaries[("cmc", "ct")].dice == pytest.approx(0.6)
    assert math.isnan(summaries[("cmc", "ct")].dice_low)
    assert summaries[("other", "ct+mr")].dice == pytest.approx(0.3)
