"""A study of a phantom as a scanner would send it: T2, three b-values, ADC, a localizer, and a stranger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.imaging.dicom.series import SeriesSpec, write_series

FRAME = "1.2.826.0.1.3680043.8.498.1"
SIZE_MM = (160.0, 160.0, 96.0)


def structure(spec: SeriesSpec) -> np.ndarray:
    """Which tissue lies at every voxel of the grid of `spec`, (column, row, slice): 0 to 3, by positions in mm."""
    across, down, deep = spec.size_vox
    index = np.stack(np.meshgrid(np.arange(across), np.arange(down), np.arange(deep), indexing="ij"), axis=-1)
    place = index @ spec.affine_mm[:3, :3].T + spec.affine_mm[:3, 3]
    tissue = np.zeros(spec.size_vox, np.uint8)
    for value, (centre, radii) in enumerate(
        (((0, 0, 0), (70, 60, 45)), ((4, -6, 2), (24, 18, 20)), ((4, -2, 4), (14, 10, 13)))
    ):
        tissue[(((place - centre) / radii) ** 2).sum(axis=-1) < 1] = value + 1
    return tissue


def spec_of(
    description: str, *, number: int, size: tuple[int, int, int], angle: float = 0.12, **extra: object
) -> SeriesSpec:
    """An oblique axial series that covers the phantom."""
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    spacing = tuple(length / count for length, count in zip(SIZE_MM, size, strict=True))
    corner = -turn @ (np.array(SIZE_MM) / 2 - np.array(spacing) / 2)
    attributes = {
        "FrameOfReferenceUID": FRAME,
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.2",
        "SeriesDescription": description,
        "SeriesNumber": number,
        "PatientName": "Phantom^Generated",
        "PatientID": "phantom",
        **extra,
    }
    return SeriesSpec(
        size_vox=size,
        spacing_mm=spacing,
        turn=turn,
        origin_mm=tuple(corner),
        modality="MR",
        seed=number,
        signed=False,
        extra=attributes,
    )


def write_generated_study(folder: Path) -> Path:
    """Write the study and return its folder."""
    t2 = spec_of("t2_tse_tra", number=4, size=(96, 96, 24))
    _write(folder / "t2", t2, means=(5, 120, 420, 250))
    diffusion = spec_of("ep2d_diff_tra", number=6, size=(48, 56, 24), SeriesInstanceUID="1.2.826.0.1.3680043.8.498.6")
    for value, means in ((50, (5, 300, 380, 330)), (400, (5, 200, 220, 240)), (800, (5, 120, 130, 170))):
        # One series holds all b-values; instances of different volumes need names of their own.
        spec = replace(diffusion, extra={**diffusion.extra, "DiffusionBValue": float(value)}, seed=600 + value)
        _write(folder / f"b{value}", spec, means=means)
    image_type = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
    adc = spec_of("ep2d_diff_tra_ADC", number=7, size=(48, 56, 24), ImageType=image_type)
    _write(folder / "adc", adc, means=(0, 500, 1700, 1100))
    localizer = spec_of("t2_localizer", number=1, size=(32, 32, 3), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    _write(folder / "localizer", localizer, means=(5, 120, 420, 250))
    stranger = spec_of("ADC of another patient", number=9, size=(40, 40, 20), PatientID="other", PatientName="Other")
    _write(folder / "stranger", stranger, means=(0, 500, 1700, 1100))
    return folder


def _write(folder: Path, spec: SeriesSpec, *, means: tuple[float, ...]) -> None:
    rng = np.random.default_rng(spec.seed)
    voxels = np.array(means)[structure(spec)] * rng.normal(1.0, 0.06, spec.size_vox)
    write_series(folder, spec, voxels=np.clip(voxels + rng.normal(4, 3, spec.size_vox), 0, 4000).astype(np.uint16))
