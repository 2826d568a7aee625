"""What both sides are given: one scan file, one network, and the settings in `case.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.nifti import write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.backends.base import Backend, DecoderInputs

__all__ = ["SETTINGS", "Case", "SidePaths", "StandIn", "case_spec", "stand_in_centres", "write_scan"]

NUM_CLASSES = 14
MODEL_SPACING_MM = 1.5
OVERLAP = 0.5
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {"preset": "base", "window_vox": 128, "size_vox": (512, 512, 200), "spacing_mm": (0.8, 0.8, 2.5)},
    "quick": {"preset": "small", "window_vox": 64, "size_vox": (192, 192, 80), "spacing_mm": (0.8, 0.8, 2.5)},
}


@dataclass(frozen=True)
class Case:
    """Settings of a run.

    Args:
        preset: Of the network.
        window_vox: Side of the cubic window.
        size_vox: Of the scan.
        spacing_mm: Of the scan.
        threads: That either side may use.
    """

    preset: str
    window_vox: int
    size_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    threads: int

    def write(self, folder: Path) -> None:
        """Into `case.json`."""
        (folder / "case.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Case:
        """From `case.json`."""
        values = json.loads((folder / "case.json").read_text())
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


@dataclass(frozen=True)
class SidePaths:
    """Files in the working folder, named so that another case does not take them for its own."""

    folder: Path
    case: Case

    @property
    def scan(self) -> Path:
        """The scan, `.nii`: not compressed, so that neither side waits for zlib."""
        return self.folder / f"scan_{'x'.join(map(str, self.case.size_vox))}.nii"

    @property
    def network(self) -> Path:
        """The network, for torch."""
        return self.folder / f"{self.case.preset}.safetensors"

    @property
    def bundle(self) -> Path:
        """The same network, exported."""
        return self.folder / f"{self.case.preset}.cmc"


def case_spec(case: Case) -> ModelSpec:
    """One modality, 14 classes, 1.5 mm, half a window of overlap."""
    return ModelSpec(
        modalities=(ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(unit="HU")),),
        reference_modality="ct",
        classes=ClassTable.from_names([f"class_{index}" for index in range(1, NUM_CLASSES)]),
        grid=Grid(
            spacing_mm=(MODEL_SPACING_MM,) * 3,
            window_vox=(case.window_vox,) * 3,
            overlap=OVERLAP,
        ),
    )


def write_scan(case: Case, path: Path) -> None:
    """Smooth structure and noise from edge to edge, int16: no window is constant, so none is reused.

    A real scan has air around the body, which the runtime would skip and MONAI would not: left out, to be fair.
    """
    generator = np.random.Generator(np.random.Philox(0))
    x, y, z = (np.arange(size) * step for size, step in zip(case.size_vox, case.spacing_mm, strict=True))
    stored = np.empty(case.size_vox, np.int16, order="F")
    waves = [
        (60.0, np.sin(x / 17.0), np.cos(y / 23.0), np.sin(z / 31.0)),
        (90.0, np.cos(x / 41.0), np.sin(y / 37.0), np.cos(z / 53.0)),
        (50.0, np.sin(x / 71.0 + 1.0), np.cos(y / 61.0 + 2.0), np.cos(z / 43.0)),
    ]
    for index in range(case.size_vox[2]):
        plane = sum(weight * along_z[index] * np.multiply.outer(a, b) for weight, a, b, along_z in waves)
        noise = generator.standard_normal(case.size_vox[:2], dtype=np.float32)
        stored[:, :, index] = np.rint(40.0 + plane + 8.0 * noise)
    affine = np.diag([*case.spacing_mm, 1.0])
    affine[:3, 3] = [-step * (size - 1) / 2 for step, size in zip(case.spacing_mm, case.size_vox, strict=True)]
    write_volume(Volume(stored, affine), path)


def stand_in_centres() -> list[float]:
    """The stand-in's class k has the logit -(x - centre_k)², so that it marks bands of the normalised value x."""
    return np.linspace(-2.0, 2.0, NUM_CLASSES).tolist()


class StandIn(Backend):
    """A network without weights that gives outputs of the real shape: what is left is the path around it."""

    name = "stand-in"
    precision = "f32"
    modalities = ("ct",)

    def encode(self, modality: str, window: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """One number a window."""
        return {"features": window[:, :, :1, :1, :1].copy()}

    def decode(self, modality: str, inputs: DecoderInputs) -> npt.NDArray[np.float32]:
        """(B, 1, X, Y, Z) → (B, K, X, Y, Z)."""
        window = inputs.window
        logits = np.empty((len(window), NUM_CLASSES, *window.shape[2:]), np.float32)
        for index, centre in enumerate(stand_in_centres()):
            np.subtract(window[:, 0], np.float32(centre), out=logits[:, index])
            np.square(logits[:, index], out=logits[:, index])
            np.negative(logits[:, index], out=logits[:, index])
        return logits
