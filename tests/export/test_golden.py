"""Which voxels of the golden scan are undecided, against the margin computed directly; and which scan is taken."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.export.golden import golden_case
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.gate.undecided import undecided_voxels
from tests.export.exported import make_spec


class Planted(Backend):
    """Random logits for every window, the same for equal ones; class 2 only if `finds`."""

    name, precision = "planted", "f32"

    def __init__(self, spec: ModelSpec, *, finds: bool = True) -> None:
        self.modalities = spec.names
        self.finds = finds
        self.calls = 0

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        return {"features": window[..., :2, :2, :2]}

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        self.calls += 1
        logits = self.logits(inputs.window)
        if not self.finds:
            logits[:, 2] = -9.0
        return logits

    def logits(self, window: Array) -> Array:
        seed = int(np.abs(window).sum() * 1000) % 2**32
        return np.random.default_rng(seed).uniform(0, 1, (len(window), 3, *window.shape[2:])).astype(np.float32)


@pytest.mark.parametrize("margin", [0.001, 0.05])
def test_undecided_are_the_voxels_within_the_margin(margin: float) -> None:
    spec = make_spec(("mr",))
    # One window of the model's own grid: the logits of a voxel are those of the window.
    scan = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    images = {"mr": Volume(scan, np.diag([2.0, 2.0, 2.0, 1.0]))}
    seen: list[Array] = []
    backend = Planted(spec)
    logits = backend.logits
    backend.logits = lambda window: seen.append(logits(window)) or seen[-1].copy()  # type: ignore[method-assign]
    found = undecided_voxels(images, spec=spec, reference=backend, margin=margin, pairing="auto")["mr"]
    assert backend.calls == 1  # Every class is favoured on remembered logits.
    ranked = np.sort(seen[0][0].astype(np.float64), axis=0)
    gap = ranked[-1] - ranked[-2]
    assert found[gap < margin - 1e-6].all()
    assert not found[gap > margin + 1e-6].any()
    assert 0 < found.mean() < 0.2


def test_the_scan_with_the_most_classes_is_taken() -> None:
    spec = make_spec(("ct", "mr"))
    case = golden_case(spec, reference=Planted(spec))
    assert case.kind == "golden"
    assert set(case.undecided) == {("ct", "mr"), ("ct",), ("mr",)}
    assert set(case.undecided["ct", "mr"]) == {"ct", "mr"}
    assert case.undecided["ct",]["ct"].shape == case.images["ct"].size_vox
    # Nothing better was found among the others: the first is kept.
    poor = golden_case(spec, reference=Planted(spec, finds=False))
    assert poor.images["ct"].size_vox == case.images["ct"].size_vox
