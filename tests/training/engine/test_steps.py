"""Single steps: any division of a batch gives the same gradients; what is not finite stops with its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from cmc_sdk.errors import TrainingError
from cmc_sdk.training import train
from cmc_sdk.training.engine import steps
from cmc_sdk.training.methods import CMC, LossTerms, Step
from tests.training.engine.gradients import STEPS, gradients_of, relative_difference
from tests.training.engine.study import make_config


@pytest.mark.parametrize("step", STEPS)
def test_accumulated_parts_give_the_gradients_of_one(datalist: Path, tmp_path: Path, step: int) -> None:
    whole = gradients_of(make_config(datalist, tmp_path / "run"), step=step)
    parts = gradients_of(make_config(datalist, tmp_path / "run", accumulate=2), step=step)
    assert relative_difference(parts, whole) <= 1e-6


def test_stage_one_leaves_mia_and_fusion_alone(datalist: Path, tmp_path: Path) -> None:
    config = make_config(datalist, tmp_path / "run")
    assert not any(name.startswith(("mia", "fusion")) for name in gradients_of(config, step=0))
    assert any(name.startswith("fusion") for name in gradients_of(config, step=2))


def test_a_loss_that_is_not_finite_names_step_cases_and_term(
    datalist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = CMC.loss

    def broken(self: CMC, step: Step) -> LossTerms:
        terms = genuine(self, step)
        if step.number == 6:
            return LossTerms(total=terms.total * float("nan"), logged=terms.logged | {"cac": float("nan")})
        return terms

    monkeypatch.setattr(CMC, "loss", broken)
    with pytest.raises(TrainingError, match=r"step 7 \(stage 3\): the loss term 'cac' is not finite") as caught:
        train(make_config(datalist, tmp_path / "run"))
    assert "patient00" in str(caught.value)
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").is_file()


def test_a_gradient_that_is_not_finite_names_its_parameter(
    datalist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(parameters: Any, **_: Any) -> None:
        parameters[0].grad[0] = float("inf")

    monkeypatch.setattr(steps, "average_gradients", broken)
    with pytest.raises(TrainingError, match=r"step 1 \(stage 1\): the gradient of 'encoders.0.*' is not finite"):
        train(make_config(datalist, tmp_path / "run"))


def test_gradients_are_clipped_to_the_norm(datalist: Path, tmp_path: Path) -> None:
    options = {"warmup_steps": 2, "max_grad_norm": 1e-3}
    clipped = gradients_of(make_config(datalist, tmp_path / "run", optimiser=options), step=0)
    norm = torch.stack([item.norm() for item in clipped.values()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-4)


def test_the_gradient_scaler_scales_nothing_that_the_optimiser_sees(datalist: Path, tmp_path: Path) -> None:
    config = make_config(datalist, tmp_path / "run")
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    scaled = gradients_of(config, step=0, fabric=Fabric(accelerator="cpu", devices=1, plugins=[precision]))
    plain = gradients_of(config, step=0)
    norms = [torch.stack([item.norm() for item in found.values()]).norm() for found in (scaled, plain)]
    assert float(norms[0]) == pytest.approx(float(norms[1]), rel=0.05)


def test_biases_and_norms_do_not_decay(datalist: Path, tmp_path: Path) -> None:
    weight, bias = torch.nn.Parameter(torch.ones(3, 3)), torch.nn.Parameter(torch.ones(3))
    config = make_config(datalist, tmp_path / "run").optimiser
    groups = steps.build_optimiser([bias, weight], config=config).param_groups
    assert [group["weight_decay"] for group in groups] == [config.weight_decay, 0.0]
    assert groups[0]["params"] == [weight]
