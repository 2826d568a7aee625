"""A network that does not fit its specification is refused by name, not by a traceback."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.segmenter import Segmenter
from tests.runtime.stubs import StubBackend, make_spec


class Cut(StubBackend):
    """Leaves something of the logits out."""

    def __init__(self, part) -> None:
        super().__init__()
        self.part = part

    def decode(self, modality, inputs):
        return super().decode(modality, inputs)[self.part]


@pytest.mark.parametrize("part", [np.s_[:, :2], np.s_[..., :-1], np.s_[0]])
def test_logits_of_another_shape_are_refused(part):
    stored = np.random.default_rng(0).integers(-100, 100, (20, 18, 16)).astype(np.int16)
    segmenter = Segmenter(make_spec(), Cut(part))
    with pytest.raises(BackendError, match=r"logits of ct have shape .* expected .* 3 classes"):
        segmenter.infer({"ct": Volume(stored, np.diag([2.0, 2.0, 2.0, 1.0]))})
