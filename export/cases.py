"""The real scans that the gate runs on: validation cases of the run's data list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.export.parity import ParityCase
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.runtime.planning.planner import count_windows
from cmc_sdk.training.data import Case, Datalist
from cmc_sdk.training.data.datalist import Split

__all__ = ["MAX_WINDOWS", "crop_volume", "real_cases"]

MAX_WINDOWS = 27
"""A scan of more windows than this is cropped, so that the gate takes minutes and not hours."""

Point = npt.NDArray[np.float64]
"""(3,), RAS mm."""


def real_cases(datalist: Datalist, *, spec: ModelSpec, count: int = 2) -> list[ParityCase]:
    """The first validation cases that together show every modality, `count` at least where there are as many.

    A data list without a validation split gives test cases, else labelled ones. Large scans are cropped about the
    centre of their label, or about their own centre.

    Raises:
        DataError: A file cannot be read.
    """
    splits: tuple[Split, ...] = ("validation", "test", "labelled")
    pool = next((cases for cases in map(datalist.split, splits) if cases), ())
    chosen: list[Case] = []
    seen: set[str] = set()
    for case in pool:
        if not set(case.images) <= seen:
            chosen.append(case)
            seen |= set(case.images)
    chosen += [case for case in pool if case not in chosen][: max(0, count - len(chosen))]
    return [_load(case, spec=spec) for case in chosen]


def _load(case: Case, *, spec: ModelSpec) -> ParityCase:
    images = {name: read_nifti(case.images[name]) for name in spec.names if name in case.images}
    labels = {name: path for name, path in case.labels.items() if name in images}
    if any(count_windows(volume, spec=spec) > MAX_WINDOWS for volume in images.values()):
        centres = {name: _label_centre(read_nifti(path)) for name, path in labels.items()}
        images = {
            name: crop_volume(volume, centre_mm=_centre_of(name, volume, centres, spec=spec), extent_mm=_extent(spec))
            for name, volume in images.items()
        }
    pairing: ScanPairing = "registered" if spec.pairing == "registered" else "auto"
    return ParityCase(name=case.case, images=images, pairing=pairing)


def _extent(spec: ModelSpec) -> float:
    """One and a half windows, so that windows overlap along every axis."""
    return 1.5 * max(step * size for step, size in zip(spec.grid.spacing_mm, spec.grid.window_vox, strict=True))


def _centre_of(name: str, volume: Volume, centres: Mapping[str, Point | None], *, spec: ModelSpec) -> Point:
    """Where to crop: a registered case about one place in all its modalities."""
    known = {key: value for key, value in centres.items() if value is not None}
    if spec.pairing == "registered" and known:
        return next(iter(known.values()))
    if name in known:
        return known[name]
    middle: Point = volume.affine_mm[:3] @ np.array([*((size - 1) / 2 for size in volume.size_vox), 1.0])
    return middle


def _label_centre(label: Volume) -> Point | None:
    """Centre of the foreground in mm; None for an empty label."""
    indices = np.argwhere(label.stored > 0)
    if not len(indices):
        return None
    centre: Point = label.affine_mm[:3, :3] @ indices.mean(axis=0) + label.affine_mm[:3, 3]
    return centre


def crop_volume(volume: Volume, *, centre_mm: Point, extent_mm: float) -> Volume:
    """The part of a volume within a cube of `extent_mm` about a place, on the volume's own grid and geometry."""
    centre = np.linalg.solve(volume.affine_mm[:3, :3], centre_mm - volume.affine_mm[:3, 3])
    half = [extent_mm / 2 / step for step in volume.spacing_mm]
    start = [
        int(np.clip(np.floor(c - h), 0, max(0, n - 1))) for c, h, n in zip(centre, half, volume.size_vox, strict=True)
    ]
    stop = [
        int(np.clip(np.ceil(c + h) + 1, s + 1, n))
        for c, h, s, n in zip(centre, half, start, volume.size_vox, strict=True)
    ]
    affine = volume.affine_mm.copy()
    affine[:3, 3] = affine[:3, :3] @ np.array(start, dtype=float) + affine[:3, 3]
    part = volume.stored[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return Volume(part, affine, slope=volume.slope, intercept=volume.intercept, name=volume.name)
