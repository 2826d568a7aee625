"""Before anything runs: which scans go together, on which model grid, in which windows, and the bytes that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import GeometryError
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.runtime.core import (
    Accumulator,
    ModelGrid,
    WindowSampler,
    boxes_overlap,
    extend_grid,
    longest_axis,
    model_grid,
    window_starts,
)
from cmc_sdk.runtime.labelling.window_plan import Group
from cmc_sdk.runtime.scans.prepared import PreparedScan

__all__ = ["plan_groups"]


def plan_groups(
    scans: Mapping[str, PreparedScan], *, spec: ModelSpec, pairing: ScanPairing, threads: int = 1
) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """Decide what is labelled together, and how.

    `registered`: all scans in one frame of reference, sampled on the axes of the reference modality (of the first one
    present, if it is absent), on a grid that covers them all. `separate`: each scan by itself, its partners absent.
    `auto`: `separate` where the network was trained on unpaired scans; else `registered` if all scans come from DICOM
    and name one frame of reference, or lie on one grid; and `separate`, with a warning, if not: a NIfTI file does not
    say which frame of reference it is in.

    Args:
        scans: One or more, by modality.
        spec: Of the network.
        pairing: What the caller says.
        threads: Of the core: each has its own scratch.

    Returns:
        The groups, and warnings.

    Raises:
        GeometryError: Scans said to share a frame do not overlap.
    """
    present = tuple(name for name in spec.names if name in scans)
    together, warnings = _together(scans, present=present, spec=spec, pairing=pairing)
    chosen = [present] if together else [(name,) for name in present]
    volumes = {name: scans[name].volume for name in present}
    return tuple(_group(names, volumes=volumes, spec=spec, threads=threads) for names in chosen), warnings


def _together(
    scans: Mapping[str, PreparedScan], *, present: tuple[str, ...], spec: ModelSpec, pairing: ScanPairing
) -> tuple[bool, tuple[str, ...]]:
    if len(present) == 1 or pairing == "separate":
        return False, ()
    if pairing == "registered":
        return True, ()
    if spec.pairing == "unpaired":
        return False, ()
    frames = [scans[name].frame for name in present]
    if all(frame.nameable for frame in frames):
        named = {frame.uid for frame in frames}
        if len(named) == 1 and None not in named:
            return True, ()
        warning = (
            f"{' and '.join(present)} are in different frames of reference, or in none that is named: each was "
            "labelled alone; give --pairing registered if they were brought into one"
        )
        return False, (warning,)
    first, *others = (scans[name].volume for name in present)
    if all(first.same_grid(other) for other in others):
        return True, ()
    warning = (
        f"{' and '.join(present)} lie on different grids and nothing says that they share a frame of reference: each "
        "was labelled alone; give --pairing registered if they do"
    )
    return False, (warning,)


def _group(names: tuple[str, ...], *, volumes: Mapping[str, Volume], spec: ModelSpec, threads: int) -> Group:
    reference = spec.reference_modality if spec.reference_modality in names else names[0]
    first = volumes[reference]
    grid = model_grid(first.affine_mm, first.size_vox, spacing_mm=spec.grid.spacing_mm)
    for name in names:
        other = volumes[name]
        if not boxes_overlap(
            first.affine_mm, first.size_vox, other_affine_mm=other.affine_mm, other_size_vox=other.size_vox
        ):
            raise GeometryError(
                f"{reference} ({first.name}) and {name} ({other.name}) do not overlap in space, so they cannot be a "
                "registered pair",
                mend="check that both are of one patient and one frame, or give --pairing separate",
            )
        grid = extend_grid(grid, affine_mm=other.affine_mm, size_vox=other.size_vox)
    axis = longest_axis(grid.size_vox)
    starts = window_starts(grid.size_vox, window_vox=spec.grid.window_vox, overlap=spec.grid.overlap)
    return Group(
        modalities=names,
        grid=grid,
        starts=tuple(sorted(starts, key=lambda start: (start[axis], start))),
        ring_axis=axis,
        core_bytes=sum(
            _core_bytes(volumes[name], grid=grid, starts=starts, spec=spec, threads=threads) for name in names
        ),
    )


def _core_bytes(
    volume: Volume, *, grid: ModelGrid, starts: Sequence[tuple[int, int, int]], spec: ModelSpec, threads: int
) -> int:
    window, classes = spec.grid.window_vox, spec.classes.num_classes
    blending = Accumulator.core_bytes(
        grid,
        target_affine_mm=volume.affine_mm,
        target_size_vox=volume.size_vox,
        num_classes=classes,
        window_vox=window,
        starts=starts,
        threads=threads,
    )
    sampling = WindowSampler.core_bytes(volume, grid=grid, window_vox=window, starts=starts, threads=threads)
    return blending + sampling + 2 * volume.stored.size  # labels and confidence
