"""The gate in a manifest: who passed, and what an export asks for by default."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from cmc_sdk.bundle.precision import DEFAULT_LIMITS, GRAPHS_OF, GateLimits, GatePass, Precision
from cmc_sdk.runtime.backends.catalogue import CATALOGUE


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_backend_may_have_passed(name: str) -> None:
    assert GatePass(backend=name, precision="f32").model_dump() == {"backend": name, "precision": "f32"}


@pytest.mark.parametrize("name", ["", "ONNX Runtime", "../openvino", "openvino\n", "-", "x" * 65])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="backend"):
        GatePass(backend=name, precision="f32")


def test_every_precision_has_graphs_and_limits() -> None:
    assert set(DEFAULT_LIMITS) == set(GRAPHS_OF) == set(get_args(Precision))


def test_limits_that_state_nothing_are_those_of_f32_and_none_are_tighter() -> None:
    assert GateLimits() == DEFAULT_LIMITS["f32"] == GateLimits(min_dice=0.999, max_flips=0.0001)
    for limits in DEFAULT_LIMITS.values():
        assert limits.min_dice <= DEFAULT_LIMITS["f32"].min_dice
        assert limits.max_flips >= DEFAULT_LIMITS["f32"].max_flips
        assert limits.small_class_vox == DEFAULT_LIMITS["f32"].small_class_vox == 1000
