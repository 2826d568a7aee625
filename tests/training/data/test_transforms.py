from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.nifti import write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.training.data.config import IntensityAugmentation
from cmc_sdk.training.data.intensity_augmentation import draw_intensity
from cmc_sdk.training.data.scans import LoadScan, ScanFile
from cmc_sdk.training.data.transforms import AugmentIntensity, NormaliseWindow, WindowJob


@pytest.fixture
def job(tmp_path: Path) -> WindowJob:
    voxels = np.arange(6**3, dtype=np.float32).reshape(6, 6, 6)
    write_volume(Volume(voxels, np.eye(4)), tmp_path / "ct.nii.gz")
    spec = ModelSpec(
        modalities=(ModalitySpec(name="ct"),),
        reference_modality="ct",
        classes=ClassTable.from_names(["liver"]),
        grid=Grid(spacing_mm=(1, 1, 1), window_vox=(4, 4, 4), overlap=0.5),
    )
    return WindowJob(
        scan=LoadScan(spec)(ScanFile(case="a", modality="ct", image=tmp_path / "ct.nii.gz", label=None)),
        rule=IntensityRule(),
        affine_mm=np.eye(4),
        size_vox=(4, 4, 4),
        intensity=draw_intensity(IntensityAugmentation(), rng=np.random.default_rng(0)),
    )


@pytest.mark.parametrize("transform", [NormaliseWindow(), AugmentIntensity()])
def test_a_window_is_sampled_before_its_values_are_changed(job, transform):
    with pytest.raises(RuntimeError, match=f"{type(transform).__name__} comes after SampleWindow"):
        transform(job)
