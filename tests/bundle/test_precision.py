"""What a manifest says of the gate."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cmc_sdk.bundle.precision import GatePass
from cmc_sdk.runtime.backends.catalogue import CATALOGUE


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_backend_may_have_passed(name: str) -> None:
    assert GatePass(backend=name, precision="f32").model_dump() == {"backend": name, "precision": "f32"}


@pytest.mark.parametrize("name", ["", "ONNX Runtime", "../openvino", "openvino\n", "-", "x" * 65])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="backend"):
        GatePass(backend=name, precision="f32")
