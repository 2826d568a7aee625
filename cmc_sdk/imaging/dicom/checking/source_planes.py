"""What the scanner's own files say of where the slices of a volume lie, held against the volume's affine."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.dicom.checking.comparison import placed_on
from cmc_sdk.imaging.dicom.checking.index_maps import faults_of, lps_to_index
from cmc_sdk.imaging.dicom.checking.read_back import Plane, Reference, frame_planes, planes_in
from cmc_sdk.imaging.dicom.source import require_dicom_source
from cmc_sdk.imaging.volume import Volume

__all__ = ["settled_slices"]

# A series counts as regular although its positions jitter a little; a fault is a voxel, or the whole scan.
SOURCE_TOLERANCE_VOX = 0.2


def settled_slices(labels: Volume, *, referenced: Iterable[int]) -> frozenset[int]:
    """Those of the `referenced` slices whose source frame, as its own file says, has the plane that the affine says.

    A slice whose file is gone, or says too little, is not among them.

    Raises:
        GeometryError: A source frame lies elsewhere: the volume is mirrored, shifted or turned against its source.
    """
    source = require_dicom_source(labels)
    wanted = {k: frame for k in referenced if (frame := source.frames[k]) is not None}
    planes = planes_in(source.header)
    for path in {frame.path for frame in wanted.values()}:
        try:
            planes.update(frame_planes(path))
        except Exception:  # gone or damaged since it was read: it settles nothing, and that is what we say
            continue
    to_index = lps_to_index(labels)
    settled = set()
    for k, frame in wanted.items():
        key: Reference = (frame.sop_instance_uid, frame.frame_number)
        if key not in planes:
            continue
        if not _lies_at(planes[key], k, labels=labels, to_index=to_index):
            raise GeometryError(
                f"slice {k} does not lie where its source frame, {frame.path.name}, says: the volume is "
                f"{_name(planes[key], k, labels=labels, to_index=to_index)} against its source"
            )
        settled.add(k)
    return frozenset(settled)


def _lies_at(
    plane: Plane,
    k: int,
    *,
    labels: Volume,
    to_index: npt.NDArray[np.float64],
    back: npt.NDArray[np.float64] | None = None,
) -> bool:
    columns, rows, _ = labels.size_vox
    corner, across, down = placed_on(plane, to_index, back=np.eye(4) if back is None else back)
    far = corner + across * (columns - 1) + down * (rows - 1)
    expected = np.array([[0, 0, k], [1, 0, 0], [0, 1, 0], [columns - 1, rows - 1, k]], dtype=np.float64)
    off = np.abs(np.stack([corner, across, down, far]) - expected)
    return bool(off.max() <= SOURCE_TOLERANCE_VOX)


def _name(plane: Plane, k: int, *, labels: Volume, to_index: npt.NDArray[np.float64]) -> str:
    for fault in faults_of(labels):
        # The volume is displaced by the fault, so the source's plane is displaced by its inverse.
        if _lies_at(plane, k, labels=labels, to_index=to_index, back=fault.matrix):
            return fault.name
    corner, _, _ = placed_on(plane, to_index)
    off = float(np.linalg.norm(labels.affine_mm[:3, :3] @ (corner - (0.0, 0.0, float(k)))))
    return f"{off:.1f} mm off"
