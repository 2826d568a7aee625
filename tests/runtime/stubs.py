"""A network that is a plain function of its windows, and scans for it."""

from __future__ import annotations

import numpy as np

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.runtime.backends.base import Backend, DecoderInputs

WINDOW = 16
POOL = 8
CLASSES = ("liver", "spleen")


def make_spec(*, pairing="registered", overlap=0.5, spacing=(2.0, 2.0, 2.0), window=WINDOW) -> ModelSpec:
    return ModelSpec(
        modalities=(
            ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(clip=(-200, 300), unit="HU")),
            ModalitySpec(name="mr", dicom_modality="MR"),
        ),
        reference_modality="ct",
        classes=ClassTable.from_names(CLASSES),
        grid=Grid(spacing_mm=spacing, window_vox=(window,) * 3, overlap=overlap),
        pairing=pairing,
    )


class StubBackend(Backend):
    """Logits grow with the window's own values and, softly, with the blocks' means of every present modality."""

    name = "stub"
    precision = "f32"

    def __init__(self, modalities=("ct", "mr")) -> None:
        self.modalities = tuple(modalities)
        self.encoded: list[tuple[str, tuple[int, ...]]] = []
        self.decoded: list[tuple[str, np.ndarray, dict[str, np.ndarray]]] = []

    def encode(self, modality: str, window: np.ndarray) -> dict[str, np.ndarray]:
        assert window.dtype == np.float32
        self.encoded.append((modality, window.shape))
        batch, _, x, y, z = window.shape
        blocks = window.reshape(batch, 1, x // POOL, POOL, y // POOL, POOL, z // POOL, POOL)
        return {"features": blocks.mean(axis=(3, 5, 7)), "skip_0": 2.0 * window}

    def decode(self, modality: str, inputs: DecoderInputs) -> np.ndarray:
        features, presence, window = inputs.features, inputs.presence, inputs.window
        self.decoded.append((modality, presence.copy(), {name: array.copy() for name, array in features.items()}))
        assert np.array_equal(inputs.encoded["skip_0"], 2.0 * window)
        context = np.zeros_like(window)
        for place, name in enumerate(self.modalities):
            wide = features[name].repeat(POOL, axis=2).repeat(POOL, axis=3).repeat(POOL, axis=4)
            context += presence[:, place, None, None, None, None] * np.tanh(wide) * (0.3 + 0.2 * place)
        level = window + 0.5 * context
        logits = np.concatenate([0.4 - level, level, 2.0 * level - 1.0], axis=1)
        return logits.astype(np.float32)


def blob_scan(affine, size, *, seed=0, air=-1000.0, centre=(0.0, 0.0, 0.0), radius=18.0) -> Volume:
    """An off-centre textured ball in air, a function of the place in mm, so that it looks the same on every grid."""
    index = np.stack([*np.meshgrid(*map(np.arange, size), indexing="ij"), np.ones(size)]).reshape(4, -1)
    place = (np.asarray(affine) @ index)[:3] - np.array(centre)[:, None]
    distance = np.sqrt((place**2).sum(axis=0))
    waves = np.sin(place[0] / 5 + seed) + np.cos(place[1] / 7) + np.sin(place[2] / 6 - seed)
    values = np.where(distance < radius, 60.0 + 60.0 * waves, air)
    return Volume(np.rint(values).reshape(size).astype(np.int16), np.asarray(affine), name="scan")
