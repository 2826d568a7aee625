"""The windows of a calibration are those that the segmenter runs, from nearly air to full of detail."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.bundle import open_bundle
from cmc_sdk.errors import InputError
from cmc_sdk.export.parity import ParityCase
from cmc_sdk.export.precision.calibration_windows import graph_inputs, sample_windows
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.segmenter import Segmenter
from cmc_sdk.runtime.session import Session
from tests.export.exported import Exported, make_case, make_spec


class Watching(Backend):
    """Answers zeros and keeps every window that it is given."""

    name, precision = "watching", "f32"

    def __init__(self, modalities: tuple[str, ...]) -> None:
        self.modalities = modalities
        self.seen: list[Array] = []

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        self.seen += list(window[:, 0].copy())
        return {"features": window[..., :2, :2, :2]}

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        return np.zeros((len(inputs.window), 3, *inputs.window.shape[2:]), np.float32)


def test_they_are_the_windows_of_the_segmenter() -> None:
    spec, case = make_spec(window=8), make_case()
    watching = Watching(spec.names)
    Segmenter(spec, watching).infer(case.images, pairing=case.pairing)
    ran = {window.tobytes() for window in watching.seen}
    chosen = sample_windows([case], spec=spec, count=5)
    assert len(chosen) >= 5
    for window in chosen:
        assert set(window.images) == {"ct", "mr"}
        assert all(image.tobytes() in ran for image in window.images.values())
    contrasts = [window.contrast for window in chosen]
    assert min(contrasts) < 0.9 * max(contrasts)


def test_a_modality_without_a_real_window_is_refused() -> None:
    spec, case = make_spec(window=8), make_case(("ct",))
    with pytest.raises(InputError, match="no real window of mr"):
        sample_windows([case], spec=spec, count=2)
    air = Volume(np.zeros((16, 16, 16), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(InputError, match="no real window of mr"):
        sample_windows([case, ParityCase("air", {"mr": air}, "auto")], spec=spec, count=2)


def test_graphs_get_what_they_take(exported: Exported) -> None:
    backend = Session(exported.bundle, backend="onnxruntime", trust="development").backend
    windows = sample_windows([exported.case], spec=exported.spec, count=1)
    graphs = {(item.part, item.modality): item for item in open_bundle(exported.bundle).manifest.graphs}
    (encoder,) = graph_inputs(windows, graph=graphs["encoder", "mr"], spec=exported.spec, reference=backend)
    assert encoder["window"].shape == (1, 1, 16, 16, 16)
    both, alone = graph_inputs(windows, graph=graphs["decoder", "mr"], spec=exported.spec, reference=backend)
    assert [item.name for item in graphs["decoder", "mr"].inputs] == list(both)
    assert (both["presence"].tolist(), alone["presence"].tolist()) == ([[1.0, 1.0]], [[0.0, 1.0]])
    assert both["features_ct"].any()
    assert not alone["features_ct"].any()
