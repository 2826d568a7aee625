"""From a placed window to the network's input: the runtime's sampler and normalisation as MONAI transforms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from monai.transforms.compose import Compose
from monai.transforms.transform import Transform

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.runtime.core import normalise, sample_window
from cmc_sdk.training.data.intensity_augmentation import IntensityParameters, apply_intensity
from cmc_sdk.training.data.scans import Scan

__all__ = ["AugmentIntensity", "NormaliseWindow", "SampleWindow", "WindowJob", "window_transform"]


@dataclass(frozen=True, eq=False)
class WindowJob:
    """A window on its way through the transforms.

    Args:
        scan: What it is cut from.
        rule: Intensity rule of its modality.
        affine_mm: (4, 4), window voxel index → RAS mm.
        size_vox: Its size.
        intensity: Drawn augmentation.
        image: (1, X, Y, Z) float32, once sampled.
        label: (X, Y, Z) uint8, once sampled; None where the scan has none.
    """

    scan: Scan
    rule: IntensityRule
    affine_mm: npt.NDArray[np.float64]
    size_vox: tuple[int, int, int]
    intensity: IntensityParameters
    image: npt.NDArray[np.float32] | None = None
    label: npt.NDArray[np.uint8] | None = None


class SampleWindow(Transform):
    """Cut image and label with the sampler that the runtime uses: what is trained on is what will be deployed."""

    def __call__(self, data: WindowJob) -> WindowJob:
        """Fill `image` with raw values and `label` with the nearest label."""
        scan = data.scan
        image = sample_window(
            scan.image, affine_mm=data.affine_mm, size_vox=data.size_vox, background=scan.statistics.background
        )
        label = None
        if scan.label is not None:
            label = sample_window(
                scan.label, affine_mm=data.affine_mm, size_vox=data.size_vox, background=0.0, mode="nearest"
            )
        return replace(data, image=image[None], label=label)


class NormaliseWindow(Transform):
    """Raw values to the network's input, by the modality's rule and the whole scan's statistics."""

    def __call__(self, data: WindowJob) -> WindowJob:
        """Replace `image` by its normalised values."""
        if data.image is None:
            raise RuntimeError("NormaliseWindow comes after SampleWindow")
        return replace(data, image=normalise(data.image, rule=data.rule, statistics=data.scan.statistics))


class AugmentIntensity(Transform):
    """Apply the intensity parameters that were drawn."""

    def __call__(self, data: WindowJob) -> WindowJob:
        """Replace `image` by its augmented values."""
        if data.image is None:
            raise RuntimeError("AugmentIntensity comes after SampleWindow")
        return replace(data, image=apply_intensity(data.image, parameters=data.intensity))


window_transform = Compose([SampleWindow(), NormaliseWindow(), AugmentIntensity()])
"""`WindowJob` → `WindowJob` with image and label."""
