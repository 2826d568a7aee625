"""`cmc demo`: the headline, and the whole path in small."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cmc_sdk.cli.demo.demo_page import headline, headline_text
from cmc_sdk.training.evaluation import Row, read_csv
from tests.cli.command import Outcome

Cmc = Callable[..., Outcome]


def row(method: str, modality: str, presence: str, dice: float, organ: str = "liver") -> Row:
    return Row(
        case="c", patient="p", centre="A", split="test", method=method, seed=0, organ=organ, modality=modality,
        presence=presence, dice=dice, asd_mm=1.0, hd95_mm=2.0, nsd=0.9, false_positive_ml=0.0, reference_ml=1.0,
        predicted_ml=1.0, missed=False,
    )  # fmt: skip


def test_the_headline_sets_the_rows_side_by_side() -> None:
    rows = [
        row("cmc", "ct", "ct+mr", 0.9), row("cmc", "ct", "ct+mr", 0.7, "spleen"), row("cmc", "mr", "ct+mr", 0.8),
        row("cmc", "ct", "ct", 0.6), row("cmc", "mr", "mr", 0.5), row("supervised", "ct", "ct+mr", 0.4),
        row("supervised", "mr", "ct+mr", 0.3), row("nearest_class_mean", "ct", "ct", 0.2),
        row("nearest_class_mean", "mr", "mr", math.nan),
    ]  # fmt: skip
    table = headline(rows)
    dice = [[line["dice"][name] for name in ("ct", "mr")] for line in table]
    assert dice[0] == pytest.approx([0.8, 0.8])
    assert dice[1] == pytest.approx([0.6, 0.5])
    assert dice[2] == pytest.approx([0.4, 0.3])
    assert dice[4][0] == pytest.approx(0.2)
    lines = headline_text(table).splitlines()
    assert len(lines) == 6
    assert lines[1].split()[-2:] == ["0.800", "0.800"]
    assert lines[5].split()[-2:] == ["0.200", "–"]


def test_an_output_that_is_in_the_way_is_refused_at_once(cmc: Cmc, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    outcome = cmc("demo", "--output", tmp_path)
    assert "is not empty" in outcome.error
    assert outcome.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_the_whole_path_in_small(cmc: Cmc, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = cmc("demo", "--fast", "--output", out, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert len(document["dice"]) == 5
    rows = read_csv(out / "evaluation.csv")
    assert {row.method for row in rows} == {"cmc", "supervised", "nearest_class_mean"}
    assert {row.presence for row in rows if row.method == "cmc"} == {"ct+mr", "ct", "mr"}
    page = (out / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link|src=\"(?!data:)", page)
    for link in re.findall(r'href="([^"]+)"', page):
        assert (out / link).is_file(), link
