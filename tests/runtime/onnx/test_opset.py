"""Which opsets a bundle's graphs may be in."""

from __future__ import annotations

import pytest

from cmc_sdk.runtime.onnx.opset import OPSET, OPSETS, opset_fault


def test_the_default_is_allowed() -> None:
    assert OPSET == 18
    assert OPSET in OPSETS
    assert [opset_fault(opset) for opset in (18, 19, 20)] == [None, None, None]


@pytest.mark.parametrize("opset", [17, 21, 23, None])
def test_another_opset_is_named_with_those_that_are_allowed(opset: int | None) -> None:
    assert opset_fault(opset) == f"opset {opset} is outside 18 to 20"
