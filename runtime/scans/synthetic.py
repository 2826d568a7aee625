"""A scan that nobody ever had: what the gate and the benchmark run on, the same on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModelSpec
from cmc_sdk.imaging.volume import Volume

__all__ = ["synthetic_case", "synthetic_size"]

_SPACING = (1.0, 1.0, 1.5)  # Times the model's: the path resamples along z, as real scans make it do.


def synthetic_size(grid: Grid, *, windows: float = 1.25) -> tuple[int, int, int]:
    """Voxels of a synthetic scan: one model window across, `windows` of them along z."""
    x, y, z = grid.window_vox
    return (x, y, max(1, round(z * windows / _SPACING[2])))


def synthetic_case(spec: ModelSpec, *, seed: int, size_vox: tuple[int, int, int] | None = None) -> dict[str, Volume]:
    """One registered scan per modality: a body in air, filled with a smooth random field and fine noise.

    Every modality shows the same field through another random curve, so that the contrasts differ and the anatomy
    does not. The same seed gives the same voxels.

    Args:
        spec: Modalities with their intensity rules, and the model grid.
        seed: Of the field and of the curves.
        size_vox: (X, Y, Z); None for `synthetic_size(spec.grid)`.
    """
    size = size_vox or synthetic_size(spec.grid)
    spacing = [step * factor for step, factor in zip(spec.grid.spacing_mm, _SPACING, strict=True)]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-step * (count - 1) / 2 for step, count in zip(spacing, size, strict=True)]
    generator = np.random.Generator(np.random.Philox(seed))
    field = _smooth_field(size, generator=generator)
    body = _body(size)
    volumes = {}
    for modality in spec.modalities:
        # From end to end of the range: a flat curve would show no anatomy. Brighter is denser in CT only.
        curve = generator.random(6)
        curve = (curve - curve.min()) / (curve.max() - curve.min())
        if modality.dicom_modality == "CT":
            curve = np.sort(curve)
        signal = np.interp(field, np.linspace(0.0, 1.0, 6), curve)
        signal += 0.02 * generator.standard_normal(size)
        air, low, high = _range(modality.intensity)
        values = np.where(body, low + (high - low) * signal, air)
        fine = high - low < 200  # Whole numbers would lose the field.
        stored = values.astype(np.float32) if fine else np.rint(values).astype(np.int16)
        volumes[modality.name] = Volume(stored, affine, name=f"synthetic {modality.name}")
    return volumes


def _range(rule: IntensityRule) -> tuple[float, float, float]:
    """Air, and the range of the body, inside the rule's clip."""
    if rule.clip is not None:
        low, high = rule.clip
        return (min(low, -1000.0) if rule.unit == "HU" else low, low + 0.05 * (high - low), high)
    return (-1000.0, -200.0, 300.0) if rule.unit == "HU" else (0.0, 50.0, 1000.0)


def _body(size: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """An elliptic cylinder that leaves air on all sides: foreground is found by the constant border."""
    x, y, z = (np.linspace(-1.0, 1.0, count) for count in size)
    ellipse = (x[:, None] / 0.9) ** 2 + (y[None, :] / 0.8) ** 2 < 1.0
    body: npt.NDArray[np.bool_] = ellipse[:, :, None] & (np.abs(z) < 0.97)[None, None, :]
    return body


def _smooth_field(size: tuple[int, int, int], *, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """A random field in [0, 1] with structure of a quarter and of a tenth of the volume."""
    field = np.zeros(size)
    for nodes, weight in ((5, 1.0), (11, 0.5)):
        part = generator.standard_normal((nodes, nodes, nodes))
        for axis, count in enumerate(size):
            part = _stretch(part, axis=axis, count=count)
        field += weight * part
    field -= field.min()
    field /= field.max()
    return field


def _stretch(values: npt.NDArray[np.float64], *, axis: int, count: int) -> npt.NDArray[np.float64]:
    """Linear interpolation along one axis to `count` samples from end to end."""
    position = np.linspace(0.0, values.shape[axis] - 1.0, count)
    lower = np.minimum(position.astype(int), values.shape[axis] - 2)
    shape = [1, 1, 1]
    shape[axis] = count
    share = (position - lower).reshape(shape)
    first, second = np.take(values, lower, axis=axis), np.take(values, lower + 1, axis=axis)
    stretched: npt.NDArray[np.float64] = first * (1.0 - share) + second * share
    return stretched
