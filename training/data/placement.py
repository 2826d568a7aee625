"""Corresponding windows of the modalities of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.pairing import WindowPairing
from cmc_sdk.training.data.config import DataConfig
from cmc_sdk.training.data.scans import Scan
from cmc_sdk.training.data.spatial import (
    SpatialParameters,
    apply_affine,
    clamp_centre,
    random_centre,
    window_affine,
)

__all__ = ["Placement", "place"]

Vector = npt.NDArray[np.float64]
_MARGIN = 0.25  # share of a window by which the body box is widened, so that the body's rim and air are seen too
_JITTER = 0.25  # share of a window by which a labelled voxel may lie off the centre


@dataclass(frozen=True)
class Placement:
    """Where the window of one modality lies.

    Args:
        affine_mm: (4, 4) float64, window voxel index → RAS mm.
        body: (3, 4) float64, window voxel index → body-normalised coordinates of the (possibly mirrored) patient.
        flip: Whether labels must be exchanged with their mirrors.
    """

    affine_mm: npt.NDArray[np.float64]
    body: npt.NDArray[np.float64]
    flip: bool


def place(
    scans: Mapping[str, Scan],
    *,
    spec: ModelSpec,
    config: DataConfig,
    pairing: WindowPairing,
    spatial: SpatialParameters,
    rng: np.random.Generator,
) -> dict[str, Placement]:
    """Place one window per modality.

    `world`: the same physical box for all, on the axes of the reference modality (the first present one if that is
    absent). `body`: each on its own axes, at the same body-normalised position; where the window is centred on a
    labelled voxel, each modality takes a voxel of the same class, if it has one.

    Args:
        scans: The present modalities.
        spec: Window, and which modality is the reference.
        config: Shares of labelled and of body windows.
        pairing: How the windows correspond.
        spatial: What was drawn for the sample.
        rng: For the position.
    """
    window = spec.grid.window_vox
    reference = spec.reference_modality if spec.reference_modality in scans else next(iter(scans))
    classes = sorted({value for scan in scans.values() for value in scan.centres_mm})
    on_class = rng.random() < config.foreground_share and bool(classes)
    on_body = rng.random() < config.body_share
    jitter = rng.uniform(-_JITTER, _JITTER, size=3) * np.asarray(window)
    value = classes[int(rng.integers(len(classes)))] if on_class else 0
    centres: dict[str, Vector] = {}
    if on_class:
        holders = [name for name in scans if value in scans[name].centres_mm]
        takers = [holders[int(rng.integers(len(holders)))]] if pairing == "world" else holders
        for name in takers:
            points = scans[name].centres_mm[value]
            grid = scans[reference if pairing == "world" else name].grid
            point = points[int(rng.integers(len(points)))] + grid.affine_mm[:3, :3] @ jitter
            centres[name] = clamp_centre(point, grid=grid, window_vox=window)
    else:
        scan = scans[reference]
        box = _body_box(scan, window) if on_body else None
        centres[reference] = random_centre(scan.grid, window_vox=window, box=box, rng=rng)
    anchor = next(iter(centres))
    placements = {}
    for name, scan in scans.items():
        if pairing == "world":
            centre, grid = centres[anchor], scans[reference].grid
        else:
            grid = scan.grid
            centre = centres.get(name, _same_body_position(centres[anchor], scans[anchor], scan, window))
        affine = window_affine(grid, centre_mm=centre, window_vox=window, parameters=spatial)
        placements[name] = Placement(affine_mm=affine, body=_body(scan, affine, spatial.flip), flip=spatial.flip)
    return placements


def _body(scan: Scan, affine: npt.NDArray[np.float64], flip: bool) -> npt.NDArray[np.float64]:
    body: npt.NDArray[np.float64] = scan.body_from_mm @ affine
    if flip:
        body[0] = np.array([0.0, 0.0, 0.0, 1.0]) - body[0]
    return body


def _same_body_position(centre: Vector, anchor: Scan, scan: Scan, window: tuple[int, int, int]) -> Vector:
    position = apply_affine(anchor.body_from_mm, centre)
    moved = np.linalg.solve(scan.body_from_mm[:, :3], position - scan.body_from_mm[:, 3])
    return clamp_centre(np.asarray(moved, dtype=np.float64), grid=scan.grid, window_vox=window)


def _body_box(scan: Scan, window: tuple[int, int, int]) -> tuple[Vector, Vector]:
    """The body box in voxels of the model grid, widened, and cut to the grid."""
    corners = np.array(list(product((0.0, 1.0), repeat=3)))
    corners_mm = np.linalg.solve(scan.body_from_mm[:, :3], (corners - scan.body_from_mm[:, 3]).T).T
    from_mm = np.asarray(np.linalg.inv(scan.grid.affine_mm), dtype=np.float64)
    on_grid = apply_affine(from_mm, np.asarray(corners_mm, dtype=np.float64))
    margin = _MARGIN * np.asarray(window)
    size = np.asarray(scan.grid.size_vox, dtype=np.float64)
    lower = np.clip(on_grid.min(axis=0) + 0.5 - margin, 0.0, size)
    upper = np.clip(on_grid.max(axis=0) + 0.5 + margin, 0.0, size)
    return lower, upper
