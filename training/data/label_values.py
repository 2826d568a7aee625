"""Label maps of a data list: on their image's grid, with values of the class table."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import DataError, GeometryError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume

__all__ = ["allowed_values", "as_classes", "class_counts", "describe_grid", "read_label", "values_outside"]


def read_label(path: str | os.PathLike[str], *, image: Volume, classes: ClassTable) -> Volume:
    """Read a label map as uint8 on the grid of its image.

    Args:
        path: Integers, or floats within 1e-3 of them.
        image: The scan that it belongs to.
        classes: Which values are allowed, and what they count as.

    Raises:
        GeometryError: Its grid is not the image's.
        DataError: Unreadable, or a value that is not in the class table.
    """
    volume = read_nifti(path, label=True)
    if not volume.same_grid(image):
        raise GeometryError(
            f"{volume.name}: its grid ({describe_grid(volume)}) is not that of {image.name} ({describe_grid(image)})",
            mend="resample the label onto its image's grid; it is never guessed",
        )
    return as_classes(volume, classes=classes)


def as_classes(volume: Volume, *, classes: ClassTable) -> Volume:
    """A uint8 label map with the values that the class table gives to what the annotators stored.

    Raises:
        DataError: A value that counts as no class.
    """
    wrong = values_outside(class_counts(volume), classes=classes)
    if wrong:
        raise DataError(
            f"{volume.name}: label values {', '.join(map(str, wrong[:5]))} are not in the class table "
            f"({allowed_values(classes)})",
            mend="mend the label or the class table; `cmc data check` lists every such case",
        )
    if all(item.values is None for item in classes.classes):
        return volume
    index = np.zeros(256, np.uint8)
    for item in classes.classes:
        index[list(item.stored_values)] = item.index
    return volume.with_array(index[volume.stored])


def class_counts(label: Volume) -> npt.NDArray[np.int64]:
    """Voxels of each value 0 … 255 of a uint8 label map."""
    counts: npt.NDArray[np.int64] = np.bincount(label.stored.ravel(order="K"), minlength=256)
    return counts


def values_outside(counts: npt.NDArray[np.int64], *, classes: ClassTable) -> list[int]:
    """Values that occur and that the class table does not hold."""
    known = {0, *(value for item in classes.classes for value in item.stored_values)}
    return [int(value) for value in np.flatnonzero(counts) if int(value) not in known]


def allowed_values(classes: ClassTable) -> str:
    """Label values that a data list may hold, for a message."""
    if all(item.values is None for item in classes.classes):
        return f"0 … {classes.num_classes - 1}"
    return ", ".join(f"{item.name}: {' '.join(map(str, item.stored_values))}" for item in classes.classes)


def describe_grid(volume: Volume) -> str:
    """Size, spacing and first voxel of a grid, for a message."""
    size = "×".join(str(item) for item in volume.size_vox)
    spacing = "×".join(f"{item:.4g}" for item in volume.spacing_mm)
    origin = ", ".join(f"{item:.4g}" for item in volume.affine_mm[:3, 3])
    return f"{size} at {spacing} mm from ({origin})"
