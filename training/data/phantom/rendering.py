"""From tissues to a CT-like and an MR-like image, as four centres would acquire them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter

from cmc_sdk.training.data.phantom.anatomy import TISSUES, Tissue

__all__ = ["CENTRES", "Centre", "render"]

# Mean values. In CT (arterial phase) liver, spleen and stomach are equal, and so are the kidneys and one content of
# bowel; in MR spleen, kidneys and stomach are equal, liver and muscle are, and so are aorta and vena cava. But for the
# aorta in CT no organ has a value of its own in either, so that intensity alone cannot name it.
CT_HU: dict[Tissue, float] = {
    "air": -1000, "fat": -100, "muscle": 55, "bone": 350, "bowel a": 110, "bowel b": 165, "bowel c": 30,
    "stomach": 110, "vena cava": 140, "liver": 110, "spleen": 110, "right kidney": 165, "left kidney": 165,
    "aorta": 230,
}  # fmt: skip
MR_SIGNAL: dict[Tissue, float] = {
    "air": 0.0, "fat": 1.0, "muscle": 0.35, "bone": 0.2, "bowel a": 0.6, "bowel b": 0.35, "bowel c": 0.85,
    "stomach": 0.6, "vena cava": 0.1, "liver": 0.35, "spleen": 0.6, "right kidney": 0.6, "left kidney": 0.6,
    "aorta": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Centre:
    """How a centre acquires.

    Args:
        name: Its name.
        orientation: Voxel axes, as three letters.
        spacing_mm: Relative to the data list's mean spacing, by voxel axis R, A, S.
        ct_noise_hu: Standard deviation of the noise.
        ct_offset_hu: Calibration error.
        mr_scale: Signal of fat in stored units.
        mr_noise: Standard deviation, relative to fat.
        mr_bias: Strength of the coil's shading.
        blur_vox: Width of the point spread.
    """

    name: str
    orientation: str
    spacing_mm: tuple[float, float, float]
    ct_noise_hu: float
    ct_offset_hu: float
    mr_scale: float
    mr_noise: float
    mr_bias: float
    blur_vox: float


CENTRES = (
    Centre("north", "RAS", (1.0, 1.0, 1.0), 18, 0, 900, 0.05, 0.20, 0.45),
    Centre("east", "LPS", (0.92, 0.92, 1.2), 26, 6, 420, 0.07, 0.30, 0.45),
    Centre("south", "LAS", (1.08, 1.08, 0.9), 14, -5, 1500, 0.04, 0.25, 0.55),
    Centre("west", "PIR", (1.0, 0.95, 1.1), 22, 3, 250, 0.06, 0.35, 0.50),
)


def render(
    tissue: npt.NDArray[np.uint8],
    *,
    points_mm: npt.NDArray[np.float32],
    modality: Literal["ct", "mr"],
    centre: Centre,
    rng: np.random.Generator,
) -> npt.NDArray[np.int16]:
    """An image of a tissue map (X, Y, Z), int16: HU for CT, arbitrary units for MR with 0 in the air.

    Args:
        tissue: Index into `TISSUES` per voxel.
        points_mm: RAS position of each voxel, (3, X·Y·Z), for the coil's shading.
        modality: Which rendering.
        centre: Who acquires.
        rng: For texture, noise and shading.
    """
    means = CT_HU if modality == "ct" else MR_SIGNAL
    table = np.array([means[name] for name in TISSUES], dtype=np.float32)
    texture = gaussian_filter(rng.standard_normal(tissue.shape, dtype=np.float32), 1.5)
    texture /= texture.std()
    solid = tissue > 1  # air and fat are smooth
    image = gaussian_filter(table[tissue], centre.blur_vox)
    noise = rng.standard_normal((2, *tissue.shape), dtype=np.float32)
    if modality == "ct":
        image += solid * texture * 8.0 + centre.ct_offset_hu + noise[0] * centre.ct_noise_hu
        return _stored(image, lowest=-1024, highest=3071)
    image *= 1.0 + 0.08 * solid * texture
    image *= _shading(points_mm, strength=centre.mr_bias, rng=rng).reshape(tissue.shape)
    image = np.hypot(image + noise[0] * centre.mr_noise, noise[1] * centre.mr_noise)  # magnitude images: Rician
    image[binary_erosion(tissue == 0, iterations=1, border_value=1)] = 0.0  # scanners blank the air round the body
    return _stored(image * centre.mr_scale * rng.uniform(0.8, 1.25), lowest=0, highest=32767)


def _stored(image: npt.NDArray[np.floating], *, lowest: int, highest: int) -> npt.NDArray[np.int16]:
    """Rounded to whole numbers and cut to a range, as a scanner stores them."""
    whole: npt.NDArray[np.floating] = np.clip(np.rint(image), lowest, highest)
    return whole.astype(np.int16)


def _shading(
    points_mm: npt.NDArray[np.float32], *, strength: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A smooth positive field: exp of a random quadratic in position, of about ±`strength`."""
    x, y, z = points_mm / np.float32(150.0)
    terms = (x, y, z, x * x, y * y, z * z, x * y, y * z, z * x)
    field = np.zeros_like(x)
    for weight, term in zip(rng.uniform(-1, 1, size=len(terms)), terms, strict=True):
        field += np.float32(weight) * term
    field *= np.float32(strength / max(float(np.abs(field).max()), 1e-6))
    shading: npt.NDArray[np.float32] = np.exp(field)
    return shading
