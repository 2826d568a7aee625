"""The page of a run: self-contained, safe with any name; the log that it is made from."""

from __future__ import annotations

import math
import re
from pathlib import Path

from cmc_sdk.training.engine import RunPaths
from cmc_sdk.training.engine.report import write_report
from cmc_sdk.training.engine.run_log import RunLog, read_log
from tests.training.engine.study import make_config


def step(number: int, loss: float) -> dict[str, object]:
    terms = {"supervised": loss, "csc": loss / 2}
    return {"stage": 1, "lr": 1e-3, "loss": loss, "gradient_norm": 1.0, "terms": terms, "mia": {"tau": 0.2}}


def test_a_page_needs_nothing_beside_it(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    log = RunLog(paths, resume_at=0)
    for number in range(1, 5):
        log.write("step", step=number, values=step(number, 1.0 / number))
    dice = {"ct": {"liver": 0.5, "<b>": math.nan}}
    values = {"mean_dice": 0.5, "mean_by_modality": {"ct": 0.5}, "dice": dice, "foreground_ratio": {"ct": 1.2}}
    log.write("validation", step=4, values=values)
    log.close()
    config = make_config(tmp_path / "d.yaml", tmp_path / "run", name="a-run")
    row = {"present": ["ct"], "dice": {"ct": {"liver": 0.5, "<b>": None}}, "cases": 1}
    write_report(paths, config=config, summary={"validated_subsets": [row], "fused_minus_alone": {"ct": -0.1}})
    page = paths.report.read_text()
    assert "a-run" in page
    assert '<span class="share" style="--share:50%">0.500</span>' in page
    assert "<title>a-run – training</title>" in page
    assert "&lt;b&gt;" in page
    assert "<b>}" not in page
    assert re.search(r"(src|href)=", page) is None
    assert "http" not in page.replace("http-equiv", "")


def test_a_log_that_was_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    log = RunLog(paths, resume_at=0)
    for number in range(1, 6):
        log.write("step", step=number, values={"loss": math.nan, "terms": {"a": 1.0}})
    log.close()
    with open(paths.log, "a") as handle:
        handle.write('{"kind": "step", "st')
    assert [line["step"] for line in read_log(paths.log)] == [1, 2, 3, 4, 5]
    assert read_log(paths.log)[0]["loss"] is None
    log = RunLog(paths, resume_at=3)
    log.write("step", step=4, values={})
    log.close()
    assert [line["step"] for line in read_log(paths.log)] == [1, 2, 3, 4]
