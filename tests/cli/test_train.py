"""`cmc train`: what it prints, to whom, and how it stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Outcome
from tests.cli.study import make_study, training_config

Cmc = Callable[..., Outcome]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    pytest.importorskip("torch")
    return training_config(tmp_path, make_study(tmp_path / "study"))


def test_a_person_gets_the_scores_and_a_pipe_no_progress(cmc: Cmc, config: Path, tmp_path: Path) -> None:
    done = cmc("train", config)
    assert done.code == 0, done.err
    assert done.err == ""
    assert "Dice     ct given ct + mr: liver" in done.out
    assert "(1 case)" in done.out
    assert str(tmp_path / "run" / "report.html") in done.out


def test_a_program_gets_one_document(cmc: Cmc, config: Path, tmp_path: Path) -> None:
    done = cmc("train", config, "--json", "--output", tmp_path / "other [x]", "--set", "seed=7")
    document = json.loads(done.out)
    assert document["run"] == str(tmp_path / "other [x]")
    assert document["provenance"]["seed"] == 7
    assert [row["present"] for row in document["validated_subsets"]] == [["ct", "mr"], ["ct"], ["mr"]]


def test_the_run_folder_is_enough_to_resume(cmc: Cmc, config: Path, tmp_path: Path) -> None:
    assert cmc("train", config).code == 0
    before = (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes()
    assert cmc("train", tmp_path / "run" / "config.yaml", "--resume").code == 0
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes() == before
    again = cmc("train", config, "--resume", "--set", "optimiser.lr=0.5")
    assert again.code == 2
    assert "optimiser.lr was 0.001 and is now 0.5" in again.error


def test_ctrl_c_is_one_line_that_says_how_to_go_on(cmc: Cmc, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmc_sdk.training import engine

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "train", interrupted)
    done = cmc("train", config)
    assert done.code == 130
    assert "stopped by Ctrl-C" in done.error
    assert "--resume" in done.error


def test_a_recipe_that_does_not_exist_names_those_that_do(cmc: Cmc) -> None:
    done = cmc("train", "tinny")
    assert done.code == 2
    for word in ("tinny", "did you mean tiny", "brats13_flair_t1c", "ms_cmrseg"):
        assert word in done.error


def test_a_recipe_without_its_data_says_so(cmc: Cmc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cmc("train", "smoke")
    assert done.code == 2
    assert "phantom/datalist.yaml does not exist" in done.error
    assert list(tmp_path.iterdir()) == []


def test_help_has_an_example_and_does_not_wait_for_torch() -> None:
    program = "import sys\nsys.modules['torch'] = None\nfrom cmc_sdk.cli.main import main\nmain(['train', '--help'])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert "cmc train amos_10" in done.stdout
    assert "--resume" in done.stdout
