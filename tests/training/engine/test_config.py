"""Configurations: read whole, refused whole, every fault named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cmc_sdk.errors import ConfigError
from cmc_sdk.training.engine import TrainConfig, dump_config, load_config, parse_config, recipe_names
from cmc_sdk.training.engine.prepare import prepare
from tests.training.engine.study import make_config, make_document


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_every_shipped_recipe_is_valid() -> None:
    names = recipe_names()
    assert {"tiny", "smoke", "brats13_flair_t1c", "amos_10", "amos_20", "ms_cmrseg", "tao"} <= set(names)
    for name in names:
        config = load_config(name)
        assert config.name == name
        assert config.stages.total > 0
        assert config.optimiser.warmup_steps < config.stages.total


def test_a_configuration_survives_its_own_file(tmp_path: Path) -> None:
    config = load_config("amos_10")
    assert load_config(write(tmp_path / "c.yaml", dump_config(config))) == config


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    document = make_document(tmp_path / "d.yaml", tmp_path / "run", seed="x", optimizer={"lr": 1})
    document["data"]["labeled_batch"] = 3
    document["stages"]["semi"] = -1
    with pytest.raises(ConfigError) as caught:
        parse_config(document, name="mine.yaml", faults=["--set x: wrong"])
    text = str(caught.value)
    assert "\n" not in text
    for words in (
        "mine.yaml",
        "did you mean 'optimiser'?",
        "did you mean 'labelled_batch'?",
        "stages.semi",
        "seed",
        "--set x",
    ):
        assert words in text, words


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "seed: 1\nmodel:\n  preset: tiny\n  preset: base\n")
    with pytest.raises(ConfigError, match=r"line 4: the key 'preset' stands already in line 3"):
        load_config(path)


@pytest.mark.parametrize(("text", "words"), [("[1, 2]", "no mapping"), ("a: [", "not valid YAML"), ("1: 2", "quotes")])
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path / "c.yaml", text))


def test_a_recipe_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean amos_10"):
        load_config("amos10")


def test_a_configuration_runs_no_code(tmp_path: Path) -> None:
    target = tmp_path / "made"
    text = f"seed: !!python/object/apply:pathlib.Path.touch [{target}]\n"
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write(tmp_path / "c.yaml", text))
    assert not target.exists()


def test_overrides_reach_any_depth(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", yaml.safe_dump(make_document(tmp_path / "d.yaml", tmp_path / "run")))
    config = load_config(path, overrides=["optimiser.lr=1e-4", "loss.cac=off", "data.spatial.scale=[0.8, 1.2]"])
    assert config.optimiser.lr == 1e-4
    assert config.loss.cac == "off"
    assert config.data.spatial.scale == (0.8, 1.2)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimiser.lr", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("optimiser.rate=1", "optimiser.rate"),
        ("device.value=1", "device holds a value"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, words: str) -> None:
    path = write(tmp_path / "c.yaml", yaml.safe_dump(make_document(tmp_path / "d.yaml", tmp_path / "run")))
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        load_config(path, overrides=[override])


def test_the_right_configuration_passes_every_check(datalist: Path, tmp_path: Path) -> None:
    prepared = prepare(make_config(datalist, tmp_path / "run"), processes=2)
    assert prepared.modality_dropout == 0.25
    assert prepared.spec.grid.window_vox == (16, 16, 16)
    assert Path(prepared.config.data.datalist).is_absolute()
    assert prepared.warnings == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"preset": "tiny", "window_vox": 42, "freeze": True}}, ("window_vox 42", "freeze: true")),
        ({"model": {"preset": "tiny", "train_mlp": False}}, ("train_mlp: false", "pretrained")),
        ({"model": {"preset": "tiny", "window_vox": 44}}, ("window_vox 44", "multiple of 8")),
        ({"model": {"preset": "base", "pretrained": "nowhere.pth"}}, ("model.pretrained", "nowhere.pth")),
        ({"precision": "bf16-mixed", "device": "cpu"}, ("precision", "bf16-mixed needs a GPU", "32-true")),
        ({"accumulate": 3}, ("labelled_batch", "unlabelled_batch", "multiple of 3")),
        ({"data.datalist": "/nowhere/d.yaml"}, ("/nowhere/d.yaml", "does not exist")),
    ],
)
def test_contradictions_are_named(datalist: Path, tmp_path: Path, changes: dict[str, Any], words: tuple[str]) -> None:
    document = make_document(datalist, tmp_path / "run")
    if "data.datalist" in changes:
        document["data"]["datalist"] = changes["data.datalist"]
    else:
        document |= changes
    with pytest.raises(ConfigError) as caught:
        prepare(parse_config(document, name="test"))
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_voxelwise_consistency_on_unpaired_data_is_refused(unpaired: Path, tmp_path: Path) -> None:
    document = make_document(unpaired, tmp_path / "run", loss={"cac": "world"})
    document["data"]["pairing"] = "world"
    with pytest.raises(ConfigError) as caught:
        prepare(parse_config(document, name="test"))
    assert "loss.cac: world" in str(caught.value)
    assert "data.pairing: world" in str(caught.value)
    assert prepare(make_config(unpaired, tmp_path / "run")).modality_dropout == 0.5


def test_a_stage_that_would_leave_the_fusion_untrained_is_refused(datalist: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MIA and fusion would stay untrained"):
        make_config(datalist, tmp_path / "run", stages={"alone": 5})


def test_a_harmful_choice_is_a_warning(datalist: Path, tmp_path: Path) -> None:
    config: TrainConfig = make_config(datalist, tmp_path / "run", loss={"clock": "global"})
    assert any("clock: global" in text for text in prepare(config).warnings)
