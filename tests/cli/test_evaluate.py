"""`cmc evaluate` on a bundle and on a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cmc_sdk.training.evaluation import read_csv
from tests.cli.command import Outcome
from tests.cli.study import make_study, training_config

Cmc = Callable[..., Outcome]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study")


def test_a_bundle_gives_tidy_rows_and_a_table(cmc: Cmc, bundle: Path, study: Path, tmp_path: Path) -> None:
    done = cmc("evaluate", bundle, study, "--csv", tmp_path / "rows.csv", "--baseline")
    assert done.code == 0, done.err
    rows = read_csv(tmp_path / "rows.csv")
    assert len(rows) == 2 * (2 + 1 + 1) + 2 * 2
    assert {row.presence for row in rows if row.method == "cmc"} == {"ct+mr", "ct", "mr"}
    assert {row.method for row in rows} == {"cmc", "nearest_class_mean"}
    assert {row.seed for row in rows if row.method == "cmc"} == {3}
    assert all(row.dice > 0.9 for row in rows if row.method == "nearest_class_mean")
    assert "HD95 mm" in done.out
    assert "12 rows" in done.out


def test_json_is_one_document(cmc: Cmc, bundle: Path, study: Path) -> None:
    document = json.loads(cmc("evaluate", bundle, study, "--split", "validation", "--present", "mr", "--json").out)
    assert {row["presence"] for row in document["rows"]} == {"mr"}
    assert {row["split"] for row in document["rows"]} == {"validation"}
    assert {entry["organ"] for entry in document["summary"]} == {"liver", "spleen", "mean"}


def test_a_run_is_measured_under_torch(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    assert cmc("train", training_config(tmp_path, study), "--json").code == 0
    done = cmc("evaluate", tmp_path / "run", study, "--present", "ct+mr", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    assert {(row["method"], row["seed"], row["presence"]) for row in rows} == {("cmc", 0, "ct+mr")}
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("words", "patterns"),
    [
        (["--present", "ct+pet"], ["pet", "ct, mr"]),
        (["--split", "unlabelled"], ["unlabelled", "--help"]),
        (["--csv", "nowhere/rows.csv"], ["nowhere", "create"]),
        (["--tolerance", "-1"], ["tolerance", "--help"]),
    ],
)
def test_wrong_options(words: list[str], patterns: list[str], cmc: Cmc, bundle: Path, study: Path) -> None:
    outcome = cmc("evaluate", bundle, study, *words)
    assert outcome.code == 2
    for pattern in patterns:
        assert pattern in outcome.error


def test_what_is_neither_run_nor_bundle(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    outcome = cmc("evaluate", tmp_path / "study", study)
    assert "neither a training run nor a bundle" in outcome.error
    assert outcome.code == 2
    assert "does not exist" in cmc("evaluate", tmp_path / "none", study).error
    assert "none.yaml does not exist" in cmc("evaluate", tmp_path / "study", tmp_path / "none.yaml").error


def test_a_wrong_number_of_classes(cmc: Cmc, bundle: Path, study: Path) -> None:
    document = yaml.safe_load(study.read_text())
    document["classes"].append("kidney")
    study.write_text(yaml.safe_dump(document))
    outcome = cmc("evaluate", bundle, study)
    assert "3 classes (liver, spleen, kidney), the segmenter has 2" in outcome.error
    assert outcome.code == 2
