"""The catalogue: a method is one class and one row, and everything else follows from its row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")

from cmc_sdk.cli.main import main
from cmc_sdk.errors import ConfigError
from cmc_sdk.training.engine import load_config
from cmc_sdk.training.engine.prepare import prepare
from cmc_sdk.training.methods import METHODS, LossTerms, Method, Step, Traits, method_traits, methods_with, one_of
from cmc_sdk.training.methods.base import MethodSettings
from cmc_sdk.training.methods.supervised import labelled_loss
from cmc_sdk.training.model import CMCNetwork
from tests.cli.study import make_study, training_config
from tests.training.methods.samples import cnn, method

STEPS: list[Step] = []


class Toy(Method):
    """The supervised loss, plus the mean square of the logits of unlabelled samples."""

    name = "toy"
    traits = Traits(learns_from_unlabelled=True, needs_pairs=True, needs_equal_batches=True)

    @classmethod
    def build(cls, network: CMCNetwork, *, settings: MethodSettings) -> Method:
        return Toy(network)

    def loss(self, step: Step) -> LossTerms:
        STEPS.append(step)
        terms = labelled_loss(self.network, step.labelled, presence=step.labelled.presence, fuse=step.stage > 1)
        if step.unlabelled is None:
            return LossTerms(total=terms.loss, logged={"supervised": float(terms.loss.detach())})
        logits = self.network(step.unlabelled.images).logits
        square = sum(item.square().mean() for item in logits.values())
        return LossTerms(total=terms.loss + 0.01 * square, logged={"toy": float(square.detach())})


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    STEPS.clear()
    monkeypatch.setitem(METHODS, Toy.name, Toy)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of two steps, one in stage 2 and one in stage 3, on four small cases."""
    return training_config(tmp_path, make_study(tmp_path / "study"))


def edit_study(tmp_path: Path, **changes: object) -> None:
    path = tmp_path / "study" / "datalist.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_new_method_trains_from_the_command_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(config), "--set", "method=toy", "--json"])
    out, err = capsys.readouterr()
    assert stopped.value.code == 0, err
    assert json.loads(out)["provenance"]["method"] == "toy"
    assert [(step.number, step.stage, step.unlabelled is None) for step in STEPS] == [(0, 2, True), (1, 3, False)]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "step"
    assert lines[0]["terms"]["toy"] > 0
    assert load_config(tmp_path / "run" / "config.yaml").method == "toy"


def test_a_new_method_is_offered_where_a_name_is_unknown(config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config, overrides=["method=fixmatch", "seed=x"])
    words = "method: input should be 'cmc', 'supervised', 'mean_teacher', 'cps' or 'toy' (given 'fixmatch')"
    assert words in str(caught.value)
    assert "seed: " in str(caught.value)
    with pytest.raises(ConfigError, match=r"unknown method 'fixmatch'; use one of cmc, .*, toy$"):
        method(cnn(), "fixmatch")
    with pytest.raises(ConfigError, match="unknown method 'fixmatch'"):
        method_traits("fixmatch")


def test_a_name_that_is_no_word_is_the_same_fault(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"method: input should be 'cmc', .* \(given 3\)"):
        load_config(config, overrides=["method=3"])
    with pytest.raises(ConfigError, match="method: input should be 'cmc', "):
        load_config(config, overrides=["method=[toy]"])


def test_a_method_that_needs_pairs_refuses_one_modality(config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method toy compares modalities, .* use method: supervised, mean_"):
        method(cnn(("ct",)), "toy")
    document = yaml.safe_load((tmp_path / "study" / "datalist.yaml").read_text())
    for case in document["cases"]:
        for kind in ("images", "labels"):
            case.get(kind, {}).pop("mr", None)
    edit_study(tmp_path, modalities=document["modalities"][:1], cases=document["cases"])
    with pytest.raises(ConfigError, match=r"method: toy compares modalities, .* has only ct; use supervised, mean_"):
        prepare(load_config(config, overrides=["method=toy"]))
    prepare(load_config(config, overrides=["method=supervised"]))


def test_a_method_that_learns_from_unlabelled_cases_wants_some(config: Path, tmp_path: Path) -> None:
    document = yaml.safe_load((tmp_path / "study" / "datalist.yaml").read_text())
    edit_study(tmp_path, cases=[case for case in document["cases"] if case["split"] != "unlabelled"])
    with pytest.raises(ConfigError, match=r"which stage 3 of method toy needs; .* or method: supervised;"):
        prepare(load_config(config, overrides=["method=toy"]))
    prepare(load_config(config, overrides=["method=supervised"]))


def test_a_method_that_needs_equal_batches_divides_no_others(config: Path) -> None:
    unequal = ["data.labelled_batch=2", "data.unlabelled_batch=4", "accumulate=2"]
    with pytest.raises(ConfigError, match=r"data.unlabelled_batch: with method toy a step can only be divided where"):
        prepare(load_config(config, overrides=["method=toy", *unequal]))
    prepare(load_config(config, overrides=["method=cmc", *unequal]))


def test_a_method_that_may_not_branch_says_which_may(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "former").mkdir()
    (tmp_path / "former" / "config.yaml").write_text(config.read_text())
    (tmp_path / "former" / "spec.json").write_text("{}")
    with pytest.raises(SystemExit):
        main(["train", str(config), "--set", "method=toy", "--branch", str(tmp_path / "former")])
    error = capsys.readouterr().err
    assert "a run of method toy cannot share its first stages" in error
    assert "branch between cmc and supervised, or" in error


def test_rows_are_asked_by_their_traits() -> None:
    assert methods_with(lambda traits: traits.may_branch) == ["cmc", "supervised"]
    assert methods_with(lambda traits: traits.trains_partner) == ["cps"]
    assert methods_with(lambda traits: not traits.learns_from_unlabelled) == ["supervised"]
    assert all(row.name == name for name, row in METHODS.items())
    assert one_of(["a"]) == "a"
    assert one_of(["a", "b"], word="and") == "a and b"
    assert one_of(["a", "b", "c"]) == "a, b or c"


@pytest.mark.parametrize("missing", ["name", "traits", "build"])
def test_a_method_that_inherits_who_it_is_is_refused(missing: str) -> None:
    own = {word: value for word, value in vars(Toy).items() if word in {"name", "traits", "build", "loss"}}
    with pytest.raises(TypeError, match=f"Heir: a method says its own {missing}"):
        type("Heir", (Toy,), {word: value for word, value in own.items() if word != missing})
