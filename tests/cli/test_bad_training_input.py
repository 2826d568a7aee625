"""Bad input of training: named before or when it is met; the run folder never holds half a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from cmc_sdk import Volume, read_volume, write_volume
from tests.cli.command import AFFINE, Outcome
from tests.cli.study import SIZE, make_label, make_study, training_config

Cmc = Callable[..., Outcome]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study")


def check(outcome: Outcome, *words: str) -> None:
    line = outcome.error
    for word in words:
        assert word in line, line
    assert "; " in line
    assert outcome.code in (1, 2)
    assert outcome.out == ""


def no_half_files(tmp_path: Path) -> None:
    assert [path for path in tmp_path.rglob(".*")] == []
    assert list(tmp_path.rglob("*.safetensors")) == []


def replace_label(study: Path, label: np.ndarray, *, case: str = "labelled0") -> None:
    for modality in ("ct", "mr"):
        write_volume(Volume(label, AFFINE), study.parent / f"{case}_{modality}_label.nii.gz")


def test_an_empty_label(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    replace_label(study, np.zeros(SIZE, np.uint8))
    check(cmc("train", training_config(tmp_path, study)), "labelled0", "empty")
    no_half_files(tmp_path)


def test_labels_outside_the_class_table(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    replace_label(study, make_label(0) * 2)
    check(cmc("train", training_config(tmp_path, study)), "labelled0", "4")
    no_half_files(tmp_path)


def test_a_label_on_another_grid(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    replace_label(study, make_label(0)[:-2])
    check(cmc("train", training_config(tmp_path, study)), "labelled0", "grid")
    no_half_files(tmp_path)


def test_a_scan_with_nan(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    path = study.parent / "unlabelled1_mr.nii.gz"
    scan = read_volume(path).data.astype(np.float32)
    scan[1, 2, 3] = np.nan
    write_volume(Volume(scan, AFFINE), path)
    check(cmc("train", training_config(tmp_path, study)), "unlabelled1_mr.nii.gz", "NaN")
    no_half_files(tmp_path)


def test_a_missing_scan(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    (study.parent / "validation2_ct.nii.gz").unlink()
    check(cmc("train", training_config(tmp_path, study)), "validation2_ct.nii.gz", "does not exist")
    no_half_files(tmp_path)


def test_a_checkpoint_of_another_preset(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from cmc_sdk.training.model import build_encoder

    weights = {f"image_encoder.{key}": value for key, value in build_encoder("tiny").state_dict().items()}
    torch.save({"model_state_dict": weights}, tmp_path / "other.pth")
    config = training_config(tmp_path, study)
    document = yaml.safe_load(config.read_text())
    document["model"] = {"preset": "small", "pretrained": str(tmp_path / "other.pth")}
    config.write_text(yaml.safe_dump(document))
    check(cmc("train", config), "other.pth")
    no_half_files(tmp_path)


def test_a_configuration_with_several_faults_is_one_line(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    config = training_config(tmp_path, study)
    outcome = cmc("train", config, "--set", "optimizer.lr=1", "--set", "stages.semi=-1", "--set", "seed=x")
    check(outcome, "optimizer", "optimiser", "stages.semi", "seed")
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_in_the_way_or_not_there(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    config = training_config(tmp_path, study)
    check(cmc("train", config, "--resume"), "run", "--resume")
    (tmp_path / "run").mkdir()
    check(cmc("train", config), "exists already")
    check(cmc("export", tmp_path / "run", "-o", tmp_path / "x.cmc"), "run", "cmc train")
    assert not (tmp_path / "x.cmc").exists()


def test_a_data_list_that_is_wrong(cmc: Cmc, study: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(study.read_text())
    document["cases"][0]["images"]["pet"] = "x.nii.gz"
    document["surprise"] = 1
    study.write_text(yaml.safe_dump(document))
    check(cmc("train", training_config(tmp_path, study)), "surprise")
    check(cmc("evaluate", tmp_path, study), "surprise")
