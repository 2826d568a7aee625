"""Defaults by pairing, warnings, schedules, and what is logged."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from cmc_sdk.training.losses import (
    LossConfig,
    channel_variance,
    foreground_ratio,
    fused_minus_alone,
    scheduled,
)


def test_registered_defaults_are_the_measured_ones_and_silent() -> None:
    loss, warnings = LossConfig().resolve("registered")
    assert (loss.cac, loss.w_cac, loss.schedule, loss.clock, loss.ramp_fraction) == (
        "world",
        0.5,
        "rampup",
        "stage",
        0.4,
    )
    assert loss.csc_descriptor == "spatial"
    assert loss.w_csc <= 0.5
    assert warnings == ()


@pytest.mark.parametrize("pairing", ["misaligned", "unpaired"])
def test_without_registration_nothing_is_compared_voxel_by_voxel(pairing: str) -> None:
    loss, warnings = LossConfig().resolve(pairing)  # type: ignore[arg-type]
    assert (loss.cac, loss.w_cac, loss.csc_descriptor) == ("moments", 0.5, "gram")
    assert warnings == ()


@pytest.mark.parametrize("pairing", ["misaligned", "unpaired"])
def test_world_without_registration_asks_for_an_assertion(pairing: str) -> None:
    _, warnings = LossConfig(cac="world").resolve(pairing)  # type: ignore[arg-type]
    assert len(warnings) == 1
    assert "aligned: true" in warnings[0]
    assert pairing in warnings[0]
    assert LossConfig(cac="world", aligned=True).resolve(pairing)[1] == ()  # type: ignore[arg-type]
    assert LossConfig(cac="world", w_cac=0).resolve(pairing)[1] == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (LossConfig(w_cac=2.0), "w_cac"),
        (LossConfig(w_csc=0.6), "w_csc"),
        (LossConfig(clock="global"), "clock"),
        (LossConfig(as_released=True), "as_released"),
    ],
)
def test_what_is_known_to_harm_warns(config: LossConfig, word: str) -> None:
    _, warnings = config.resolve("registered")
    assert len(warnings) == 1
    assert word in warnings[0]


def test_body_and_spatial_descriptors_warn_on_unpaired_data() -> None:
    assert "cac: body" in LossConfig(cac="body").resolve("unpaired")[1][0]
    assert "csc_descriptor: nce" in LossConfig(csc_descriptor="nce").resolve("unpaired")[1][0]


@pytest.mark.parametrize("wrong", [{"w_cac": -1}, {"cac": "voxel"}, {"ramp_fraction": 1.5}, {"csc_temperature": 0}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LossConfig.model_validate(wrong)


def test_rampup_rises_over_its_fraction_and_stays() -> None:
    values = [scheduled("rampup", t / 100, ramp_fraction=0.4).cac for t in range(101)]
    assert values[0] == pytest.approx(math.exp(-5))
    assert values[20] == pytest.approx(math.exp(-5 * 0.25))
    assert all(later > earlier for earlier, later in itertools.pairwise(values[:41]))
    assert values[40:] == [1.0] * 61
    assert scheduled("rampup", 0.0, ramp_fraction=0.0).csc == 1.0


def test_paper_raises_csc_and_lowers_cac() -> None:
    first, middle, last = (scheduled("paper", t, ramp_fraction=0.4) for t in (0.0, 0.5, 1.0))
    assert (first.csc, middle.csc, last.csc) == pytest.approx((math.exp(-5), math.exp(-1.25), 1.0))
    assert (first.cac, middle.cac, last.cac) == pytest.approx((1.0, 0.5, 0.0))


def test_the_released_global_clock_spans_little() -> None:
    assert scheduled("paper", 350 / 500, ramp_fraction=0.4).cac == pytest.approx(0.206, abs=1e-3)


def test_logged_quantities() -> None:
    features = torch.zeros(1, 2, 2, 1, 1)
    features[0, 0, :, 0, 0] = torch.tensor([1.0, 3.0])
    assert channel_variance(features) == pytest.approx(0.5)  # channels: 1 and 0
    logits = torch.zeros(1, 3, 2, 2, 1)
    logits[0, 2, 0, 0, 0] = 1.0
    assert foreground_ratio(logits) == 0.25
    assert fused_minus_alone([0.5, math.nan, 0.9], [0.7, 0.3, 0.8]) == pytest.approx(-0.05)
    assert math.isnan(fused_minus_alone([math.nan], [0.5]))
