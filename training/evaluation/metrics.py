"""How well one predicted organ matches its reference, on the scanner's own grid.

Surfaces are sets of voxel centres: the voxels of a mask that touch, through a face, a voxel outside it (the border of
the volume counts as outside). Distances run between those centres in millimetres through the whole affine, so
anisotropic, oblique and sheared grids are measured as they lie in the patient. MONAI takes the same surfaces and
conventions but only a spacing per axis, and answers infinity for an organ that was missed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.volume import Volume

__all__ = ["NSD_TOLERANCE_MM", "OrganScore", "score_labels", "score_organ"]

NSD_TOLERANCE_MM = 2.0
"""Default tolerance of the normalised surface Dice, in mm."""

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class OrganScore:
    """What was measured of one organ in one case.

    Args:
        dice: 2|P∩R| / (|P|+|R|), [0, 1]; NaN where the reference lacks the organ.
        asd_mm: Mean over both surfaces' distances to each other; NaN where the reference lacks the organ, the image
            diagonal where the prediction missed it.
        hd95_mm: The larger of the two directed 95th percentiles; NaN and diagonal as `asd_mm`.
        nsd: Share of both surfaces that lies within the tolerance of the other, [0, 1]; NaN as `dice`, 0 where missed.
        false_positive_ml: Volume predicted outside the reference; all that was predicted where the organ is absent.
        reference_ml: Volume of the organ in the reference.
        predicted_ml: Volume of the organ in the prediction.
        missed: The reference holds the organ and the prediction has not one voxel of it.
    """

    dice: float
    asd_mm: float
    hd95_mm: float
    nsd: float
    false_positive_ml: float
    reference_ml: float
    predicted_ml: float
    missed: bool


def score_labels(
    predicted: Volume, *, reference: Volume, classes: Mapping[str, int], tolerance_mm: float = NSD_TOLERANCE_MM
) -> dict[str, OrganScore]:
    """Score every organ of a label map.

    Args:
        predicted: Label map, shape (X, Y, Z).
        reference: Label map on the same grid.
        classes: Label value of each organ, by name.
        tolerance_mm: Tolerance of the normalised surface Dice.

    Raises:
        GeometryError: The two label maps lie on different grids.
    """
    if not predicted.same_grid(reference):
        raise GeometryError(
            f"{reference.name}: the reference label of size {reference.size_vox} does not lie on the grid of its image "
            f"({predicted.size_vox})",
            mend="give the label on its image's grid; `cmc data check` names every such case",
        )
    found, truth = _as_classes(predicted), _as_classes(reference)
    most = max(classes.values(), default=1)
    boxes = zip(ndimage.find_objects(found, most), ndimage.find_objects(truth, most), strict=True)
    places = {value: _union(*pair) for value, pair in enumerate(boxes, start=1)}
    return {
        name: score_organ(
            found[places[value]] == value,
            reference=truth[places[value]] == value,
            affine_mm=reference.affine_mm,
            tolerance_mm=tolerance_mm,
            size_vox=reference.size_vox,
        )
        for name, value in classes.items()
    }


def score_organ(
    predicted: Mask,
    *,
    reference: Mask,
    affine_mm: npt.NDArray[np.float64],
    tolerance_mm: float = NSD_TOLERANCE_MM,
    size_vox: tuple[int, int, int] | None = None,
) -> OrganScore:
    """Score one organ.

    Args:
        predicted: Mask of shape (X, Y, Z).
        reference: Mask of the same shape.
        affine_mm: (4, 4), voxel index → RAS mm.
        tolerance_mm: Tolerance of the normalised surface Dice.
        size_vox: Of the whole image, where the masks are cut to a box that holds all of the organ; None: the masks'.
    """
    voxel_ml = abs(float(np.linalg.det(affine_mm[:3, :3]))) / 1000.0
    in_reference, in_predicted = int(reference.sum()), int(predicted.sum())
    shared = int(np.logical_and(reference, predicted).sum())
    volumes: dict[str, float] = {
        "false_positive_ml": (in_predicted - shared) * voxel_ml,
        "reference_ml": in_reference * voxel_ml,
        "predicted_ml": in_predicted * voxel_ml,
    }
    if in_reference == 0:
        return OrganScore(dice=math.nan, asd_mm=math.nan, hd95_mm=math.nan, nsd=math.nan, missed=False, **volumes)
    if in_predicted == 0:
        diagonal = _diagonal_mm(size_vox or reference.shape, affine_mm=affine_mm)
        return OrganScore(dice=0.0, asd_mm=diagonal, hd95_mm=diagonal, nsd=0.0, missed=True, **volumes)
    forth, back = _surface_distances(predicted, reference=reference, affine_mm=affine_mm)
    both = np.concatenate([forth, back])
    return OrganScore(
        dice=2.0 * shared / (in_reference + in_predicted),
        asd_mm=float(both.mean()),
        hd95_mm=float(max(np.percentile(forth, 95), np.percentile(back, 95))),
        nsd=float((both <= tolerance_mm).mean()),
        missed=False,
        **volumes,
    )


def _as_classes(volume: Volume) -> npt.NDArray[np.integer]:
    """Label values as small integers, without a copy where they are."""
    values = volume.data  # `stored` itself where scaling is the identity
    return values if values.dtype.kind in "iu" else np.rint(values).astype(np.uint8)


def _union(first: Box | None, second: Box | None) -> Box:
    """The smallest box that holds both; an empty one where there is neither."""
    if first is None or second is None:
        return first or second or (slice(0, 0),) * 3
    x, y, z = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return (x, y, z)


def _surface_distances(
    predicted: Mask, *, reference: Mask, affine_mm: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distance in mm of each surface voxel of the prediction to the reference's surface, and the other way round."""
    box = ndimage.find_objects((predicted | reference).astype(np.uint8))[0]
    predicted_mm = _surface_mm(predicted[box], affine_mm=affine_mm)
    reference_mm = _surface_mm(reference[box], affine_mm=affine_mm)
    forth = KDTree(reference_mm).query(predicted_mm)[0]
    back = KDTree(predicted_mm).query(reference_mm)[0]
    return forth, back


def _surface_mm(mask: Mask, *, affine_mm: npt.NDArray[np.float64]) -> Points:
    """Centres of a mask's surface voxels, shape (N, 3); the offset is left out, since only differences count."""
    inside = ndimage.binary_erosion(mask, border_value=0)
    surface: Points = np.argwhere(mask & ~inside) @ affine_mm[:3, :3].T
    return surface


def _diagonal_mm(size_vox: tuple[int, ...], *, affine_mm: npt.NDArray[np.float64]) -> float:
    """Longest distance between two corners of the image, edges of the outermost voxels included."""
    signs = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)])
    return float(np.linalg.norm((signs * size_vox) @ affine_mm[:3, :3].T, axis=1).max())
