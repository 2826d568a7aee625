"""One modality of one case, read once: voxels, statistics, model grid, body box, and where its classes lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from monai.transforms.transform import Transform

from cmc_sdk.bundle.manifest import ModalitySpec, ModelSpec
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.orientation import nearest_ras
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core import IntensityStatistics, ModelGrid, intensity_statistics, model_grid
from cmc_sdk.training.data.label_values import read_label

__all__ = ["LoadScan", "Scan", "ScanFile", "body_affine"]

_VOXELS_PER_CLASS = 4096  # enough to centre windows on; all voxels of a liver would be megabytes


@dataclass(frozen=True)
class ScanFile:
    """Where one modality of one case lies; `label` is None where no mask may be read."""

    case: str
    modality: str
    image: Path
    label: Path | None


@dataclass(frozen=True, eq=False)
class Scan:
    """One modality of one case in memory.

    Args:
        file: Where it came from.
        image: On its own grid.
        label: uint8 on the same grid, or None.
        statistics: Of the image's intensities.
        grid: Its model grid.
        body_from_mm: (3, 4) float64, RAS position in mm → body-normalised coordinates.
        centres_mm: For each class that occurs, positions of at most 4096 of its voxels, (n, 3) float64 RAS mm.
    """

    file: ScanFile
    image: Volume
    label: Volume | None
    statistics: IntensityStatistics
    grid: ModelGrid
    body_from_mm: npt.NDArray[np.float64]
    centres_mm: dict[int, npt.NDArray[np.float64]]


class LoadScan(Transform):
    """MONAI transform `ScanFile` → `Scan`, deterministic, so that `CacheDataset` keeps what it returns."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def __call__(self, data: ScanFile) -> Scan:
        """Read the image, and the label only where the file names one.

        Raises:
            DataError: Unreadable, voxels that are not finite, an empty label, or values outside the class table.
            GeometryError: A grid that is wrong, or a label on another grid than its image.
        """
        modality = self._spec.modality(data.modality)
        image = read_nifti(data.image)
        statistics = _statistics(image, modality)
        label = None
        if data.label is not None:
            label = read_label(data.label, image=image, classes=self._spec.classes)
            if not label.stored.any():
                raise DataError(
                    f"case {data.case}: {label.name} is an empty label, without a voxel of any class",
                    mend="correct it, or move the case to split unlabelled; `cmc data check` finds all such cases",
                )
        return Scan(
            file=data,
            image=image,
            label=label,
            statistics=statistics,
            grid=model_grid(image.affine_mm, image.size_vox, spacing_mm=self._spec.grid.spacing_mm),
            body_from_mm=body_affine(image, statistics.body_box_vox),
            centres_mm=_centres(label),
        )


def body_affine(image: Volume, box_vox: tuple[tuple[int, int, int], tuple[int, int, int]]) -> npt.NDArray[np.float64]:
    """(3, 4) map from RAS mm to coordinates in [0, 1]³ over a box of the image's voxels, axes in RAS order.

    Args:
        image: Whose voxels the box counts.
        box_vox: Half-open, lower and upper corner; the map takes its faces, not its voxel centres, to 0 and 1.
    """
    lower, upper = (np.asarray(corner, dtype=np.float64) for corner in box_vox)
    size = np.maximum(upper - lower, 1.0)
    unit = np.zeros((3, 4))
    order = nearest_ras(image.affine_mm)
    for row, (axis, flipped) in enumerate(zip(order.source_axis, order.flipped, strict=True)):
        start = (lower[axis] - 0.5) / size[axis]
        unit[row, axis] = (-1.0 if flipped else 1.0) / size[axis]
        unit[row, 3] = 1.0 + start if flipped else -start
    return unit @ np.linalg.inv(image.affine_mm)


def _statistics(image: Volume, modality: ModalitySpec) -> IntensityStatistics:
    statistics = intensity_statistics(image, modality.intensity)
    if not statistics.finite:
        raise DataError(f"{image.name}: some voxels are NaN or infinite", mend="repair the image")
    if statistics.maximum <= statistics.minimum:
        raise DataError(f"{image.name}: all voxels have the value {statistics.minimum:g}", mend="replace the image")
    return statistics


def _centres(label: Volume | None) -> dict[int, npt.NDArray[np.float64]]:
    if label is None:
        return {}
    centres = {}
    flat = label.stored.ravel()
    for value in np.unique(flat[flat > 0]):
        where = np.flatnonzero(flat == value)
        chosen = where[np.linspace(0, where.size - 1, min(where.size, _VOXELS_PER_CLASS)).astype(np.int64)]
        index = np.stack(np.unravel_index(chosen, label.size_vox), axis=1).astype(np.float64)
        centres[int(value)] = index @ label.affine_mm[:3, :3].T + label.affine_mm[:3, 3]
    return centres
