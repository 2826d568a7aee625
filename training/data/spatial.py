"""Where a window lies: its centre is drawn on the scan's model grid, its axes come from there and the augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.core import ModelGrid
from cmc_sdk.training.data.config import SpatialAugmentation

__all__ = ["SpatialParameters", "apply_affine", "clamp_centre", "draw_spatial", "random_centre", "window_affine"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SpatialParameters:
    """What was drawn for one sample, the same for all of its modalities.

    Args:
        rotation: (3, 3) float64 rotation in RAS, about the window's centre.
        scale: Magnification of the anatomy.
        flip: Whether left and right are exchanged.
    """

    rotation: npt.NDArray[np.float64]
    scale: float
    flip: bool


def draw_spatial(config: SpatialAugmentation, *, rng: np.random.Generator) -> SpatialParameters:
    """Draw a sample's spatial parameters. Always takes the same number of draws, whatever is switched on."""
    rotate, scale, flip = rng.random(3)
    angles = np.deg2rad(rng.uniform(-1.0, 1.0, size=3) * config.rotate_degrees)
    logarithm = rng.uniform(np.log(config.scale[0]), np.log(config.scale[1]))
    turned = rotate < config.rotate_probability and config.rotate_degrees > 0
    return SpatialParameters(
        rotation=_rotation(angles) if turned else np.eye(3),
        scale=float(np.exp(logarithm)) if scale < config.scale_probability else 1.0,
        flip=bool(flip < config.flip_probability),
    )


def window_affine(
    grid: ModelGrid, *, centre_mm: Vector, window_vox: tuple[int, int, int], parameters: SpatialParameters
) -> npt.NDArray[np.float64]:
    """(4, 4) map from a window's voxel index to RAS mm.

    The window has the model grid's axes and spacing; a magnification of s makes its voxels s times smaller; a flip
    reverses its first axis, the one nearest to left-right, about its centre.

    Args:
        grid: The model grid of the scan that it is cut from.
        centre_mm: (3,) RAS mm, the centre of the window.
        window_vox: Its size.
        parameters: What was drawn for the sample.
    """
    matrix = parameters.rotation @ grid.affine_mm[:3, :3] / parameters.scale
    if parameters.flip:
        matrix = matrix * np.array([-1.0, 1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = centre_mm - matrix @ (np.asarray(window_vox, dtype=np.float64) - 1) / 2
    return affine


def random_centre(
    grid: ModelGrid, *, window_vox: tuple[int, int, int], box: tuple[Vector, Vector] | None, rng: np.random.Generator
) -> Vector:
    """The centre, RAS mm, of a window placed uniformly on the grid, or within `box` of it.

    Along an axis where the window is longer than the grid (or the box), it is placed anywhere that contains it whole.

    Args:
        grid: The model grid.
        window_vox: Size of the window.
        box: Lower and upper corner in voxels of the grid, or None for the whole grid.
        rng: Three draws are taken.
    """
    window = np.asarray(window_vox, dtype=np.float64)
    lower, upper = (np.zeros(3), np.asarray(grid.size_vox, dtype=np.float64)) if box is None else box
    first, last = np.minimum(lower, upper - window), np.maximum(lower, upper - window)
    start = first + rng.random(3) * (last - first)
    return clamp_centre(apply_affine(grid.affine_mm, start + (window - 1) / 2), grid=grid, window_vox=window_vox)


def clamp_centre(centre_mm: Vector, *, grid: ModelGrid, window_vox: tuple[int, int, int]) -> Vector:
    """The nearest centre whose window lies on the grid, or contains it along axes where the window is longer."""
    window = np.asarray(window_vox, dtype=np.float64)
    room = np.asarray(grid.size_vox, dtype=np.float64) - window
    from_mm = np.asarray(np.linalg.inv(grid.affine_mm), dtype=np.float64)
    start = apply_affine(from_mm, centre_mm) - (window - 1) / 2
    start = np.clip(start, np.minimum(room, 0.0), np.maximum(room, 0.0))
    return apply_affine(grid.affine_mm, start + (window - 1) / 2)


def apply_affine(affine: npt.NDArray[np.float64], point: Vector) -> Vector:
    """A (3, 4) or (4, 4) affine applied to points (..., 3)."""
    moved: Vector = point @ affine[:3, :3].T + affine[:3, 3]
    return moved


def _rotation(angles: Vector) -> npt.NDArray[np.float64]:
    """Rz · Ry · Rx for angles (x, y, z) in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    rotation: npt.NDArray[np.float64] = about_z @ about_y @ about_x
    return rotation
