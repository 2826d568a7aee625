"""A whole run: what it leaves behind, how it is stopped and resumed, and how it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cmc_sdk.bundle.manifest import SeenRange, SubsetScore
from cmc_sdk.errors import ConfigError, InputError, ResourceError
from cmc_sdk.training import load_run, train
from cmc_sdk.training.engine import RunPaths
from cmc_sdk.training.engine.run_log import read_log
from tests.training.engine.study import make_config


def stop_at(step: int, *, stage: str = "stage 3") -> Callable[[str, int, int], None]:
    """A progress callback that presses Ctrl-C in a step of a stage."""

    def progress(what: str, done: int, total: int) -> None:
        if what == stage and done == step:
            raise KeyboardInterrupt

    return progress


def equal(a: Path, b: Path) -> bool:
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def without_time(path: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read_log(path)]


@pytest.fixture(scope="module")
def finished(datalist: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    torch.set_num_threads(1)
    return train(make_config(datalist, tmp_path_factory.mktemp("runs") / "whole"))


def test_a_run_leaves_all_its_files(finished: RunPaths) -> None:
    for path in (finished.config, finished.spec, finished.last, finished.best, finished.log, finished.report):
        assert path.is_file(), path
    assert list(finished.tensorboard.glob("events*"))
    assert list(finished.folder.rglob(".*")) == []
    assert {path.suffix for path in finished.folder.glob("checkpoints/*")} == {".safetensors"}


def test_the_log_holds_every_step_and_validation(finished: RunPaths) -> None:
    lines = read_log(finished.log)
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 9))
    assert [line["stage"] for line in lines if line["kind"] == "step"] == [1, 1, 2, 2, 3, 3, 3, 3]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [6, 8]
    assert set(lines[-1]["fused_minus_alone"]) == {"ct", "mr"}
    last = next(line for line in reversed(lines) if line["kind"] == "step")
    assert {"supervised", "csc", "cac"} <= set(last["terms"])
    assert {"w_csc", "w_cac"} == set(last["weights"])
    assert "ct/entropy" in last["mia"]


def test_the_summary_is_what_a_bundle_needs(finished: RunPaths) -> None:
    run = load_run(finished.folder)
    rows = [SubsetScore.model_validate(row) for row in run.summary["validated_subsets"]]
    assert [row.present for row in rows] == [("ct", "mr"), ("ct",), ("mr",)]
    assert all(row.cases == 2 for row in rows)
    assert set(rows[1].dice) == {"ct"}
    seen = {name: SeenRange.model_validate(item) for name, item in run.summary["seen"].items()}
    assert set(seen) == {"ct", "mr"}
    assert seen["ct"].intensity is not None
    assert 10 < seen["ct"].spacing_mm[0] <= seen["ct"].spacing_mm[1] < 25
    assert seen["mr"].volumes_ml["liver"][0] > 100
    assert set(run.summary["fused_minus_alone"]) == {"ct", "mr"}
    assert len(run.summary["provenance"]["datalist_sha256"]) == 64
    assert run.network.modalities == run.spec.names == ("ct", "mr")
    assert not run.summary["provenance"]["pretrained"]


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("stage 3", 1),
        pytest.param("stage 1", 1, marks=pytest.mark.slow),
        pytest.param("stage 2", 2, marks=pytest.mark.slow),
        pytest.param("stage 3", 4, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_ends_bit_for_bit_as_an_undisturbed_one(
    finished: RunPaths, datalist: Path, tmp_path: Path, stage: str, step: int
) -> None:
    config = make_config(datalist, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(config, progress=stop_at(step, stage=stage))
    paths = train(config, resume=True)
    assert equal(paths.last, finished.last)
    assert equal(paths.best, finished.best)
    assert without_time(paths.log) == without_time(finished.log)


@pytest.mark.slow
def test_methods_with_their_own_state_resume_too(datalist: Path, tmp_path: Path) -> None:
    config = make_config(datalist, tmp_path / "whole", method="mean_teacher")
    whole = train(config)
    config = config.model_copy(update={"output": str(tmp_path / "run")})
    with pytest.raises(KeyboardInterrupt):
        train(config, progress=stop_at(4))
    assert equal(train(config, resume=True).last, whole.last)


def test_resuming_with_another_configuration_names_the_keys(finished: RunPaths, datalist: Path) -> None:
    config = make_config(datalist, finished.folder, seed=1, optimiser={"lr": 1.0, "warmup_steps": 2})
    with pytest.raises(ConfigError, match=r"optimiser.lr was 0.003 and is now 1.0") as caught:
        train(config, resume=True)
    assert "seed was 0 and is now 1" in str(caught.value)


def test_resuming_on_a_changed_data_list_is_refused(datalist: Path, tmp_path: Path) -> None:
    copy = datalist.parent / "copy.yaml"
    copy.write_text(datalist.read_text())
    config = make_config(copy, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(config, progress=stop_at(2))
    copy.write_text(copy.read_text() + "\n# changed\n")
    with pytest.raises(ConfigError, match="is not the data list"):
        train(config, resume=True)


def test_a_finished_run_can_be_resumed_and_changes_nothing(finished: RunPaths, datalist: Path) -> None:
    before = finished.last.read_bytes()
    train(make_config(datalist, finished.folder), resume=True)
    assert finished.last.read_bytes() == before


def test_a_folder_that_stands_is_never_overwritten(datalist: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(InputError, match="exists already; continue it with --resume"):
        train(make_config(datalist, folder))
    with pytest.raises(InputError, match="no run to resume"):
        train(make_config(datalist, folder), resume=True)
    with pytest.raises(InputError, match="no run folder"):
        load_run(folder)
    assert list(folder.iterdir()) == []


def test_unpaired_data_are_validated_one_modality_at_a_time(unpaired: Path, tmp_path: Path) -> None:
    paths = train(make_config(unpaired, tmp_path / "run", stages={"fused": 1, "semi": 2}))
    rows = json.loads(paths.summary.read_text())["validated_subsets"]
    assert [row["present"] for row in rows] == [["ct"], ["mr"]]
    assert [row["cases"] for row in rows] == [1, 1]


def test_a_place_without_room_is_refused_before_anything_is_read(
    datalist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ResourceError, match=r"checkpoints need .* GB"):
        train(make_config(datalist, tmp_path / "deep" / "run"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="nothing can be written there"):
        train(make_config(datalist, tmp_path / "file" / "run"))
    assert not (tmp_path / "deep").exists()
