"""The whole sliding window against MONAI's, with one random network on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import Grid, ModalitySpec, ModelSpec
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.core import gaussian_axes, intensity_statistics, normalise, normalised_background
from cmc_sdk.runtime.segmenter import Segmenter

torch = pytest.importorskip("torch")
inferers = pytest.importorskip("monai.inferers")

WINDOW, CLASSES = (16, 20, 24), 5


class TorchStub(Backend):
    """A few random convolutions as a backend: nothing to encode, all in the decoder."""

    name, precision, modalities = "torch", "f32", ("ct",)

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        layers = [torch.nn.Conv3d(1, 8, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv3d(8, CLASSES, 3, padding=1)]
        self.network = torch.nn.Sequential(*layers)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.normal_(0, 0.3, generator=generator)

    def encode(self, modality, window):
        return {"features": window[:, :, ::8, ::8, ::8].copy()}

    def decode(self, modality, inputs):
        with torch.inference_mode():
            return self.network(torch.from_numpy(inputs.window)).numpy()


@pytest.mark.parametrize(
    ("size", "overlap"), [((40, 44, 60), 0.5), ((33, 50, 41), 0.25), ((12, 37, 50), 0.5), ((10, 11, 13), 0.75)]
)
def test_labels_are_those_of_monai(size, overlap):
    spec = ModelSpec(
        modalities=(ModalitySpec(name="ct"),),
        reference_modality="ct",
        classes=ClassTable.from_names([f"c{index}" for index in range(1, CLASSES)]),
        grid=Grid(spacing_mm=(1.0, 1.0, 1.0), window_vox=WINDOW, overlap=overlap),
    )
    rng = np.random.default_rng(3)
    coarse = rng.normal(0, 1, [side // 3 + 2 for side in size]).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    array = (coarse[: size[0], : size[1], : size[2]] + 0.3 * rng.normal(0, 1, size)).astype(np.float32)
    volume = Volume(array, np.eye(4), name="scan")
    backend = TorchStub()
    ours = Segmenter(spec, backend).infer({"ct": volume}, batch=2).labels["ct"].stored

    rule = spec.modality("ct").intensity
    statistics = intensity_statistics(volume, rule)
    x, y, z = gaussian_axes(WINDOW)
    with torch.inference_mode():
        logits = inferers.sliding_window_inference(
            torch.from_numpy(normalise(array, rule=rule, statistics=statistics))[None, None],
            roi_size=WINDOW,
            sw_batch_size=1,
            predictor=backend.network,
            overlap=overlap,
            roi_weight_map=torch.from_numpy((x[:, None] * y)[:, :, None] * z),
            padding_mode="constant",
            cval=normalised_background(rule, statistics),
        )
    theirs = logits[0].argmax(dim=0).numpy()
    foreground = (ours > 0) | (theirs > 0)
    assert foreground.mean() > 0.1
    assert len(np.unique(theirs)) == CLASSES
    assert (ours == theirs).mean() >= 0.9999
    assert (ours == theirs)[foreground].mean() >= 0.999
