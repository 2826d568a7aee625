"""Child process: all of a run that is neither network nor file, for one scan: seconds by stage, and the peak."""

from __future__ import annotations

import json
import time

import click
import numpy as np
import numpy.typing as npt

from benchmarks.core.labelling import CLASSES, MODEL_MM, SPACING_MM

WINDOW = (128, 128, 128)


def make_scan(size: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    """Texture in a frame of air, Fortran-ordered as a NIfTI file is; no window of it is constant."""
    generator = np.random.Generator(np.random.Philox(0))
    stored = np.full(size, -1024, np.int16, order="F")
    for index in range(2, size[2] - 2):
        stored[2:-2, 2:-2, index] = generator.integers(-150, 250, (size[0] - 4, size[1] - 4), dtype=np.int16)
    return stored


def make_logits() -> npt.NDArray[np.float32]:
    """(K, *window) in blocks of 8 voxels: given again for every window, so that no time goes into a network."""
    generator = np.random.Generator(np.random.Philox(1))
    coarse = 2.0 * generator.standard_normal((CLASSES, *(side // 8 for side in WINDOW)), dtype=np.float32)
    return coarse.repeat(8, axis=1).repeat(8, axis=2).repeat(8, axis=3)


def turned(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The grid turned by 11° and -7°: off every axis of the model grid."""
    a, b = 0.2, -0.12
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    second = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn = np.eye(4)
    turn[:3, :3] = first @ second
    return turn @ affine


@click.command()
@click.option("--size", nargs=3, type=int, default=(512, 512, 400))
@click.option("--oblique", is_flag=True, help="The scan lies turned against the model grid, as a partner may.")
@click.option("--slice-mm", default=SPACING_MM[2], show_default=True)
@click.option("--threads", default=2)
def main(size: tuple[int, int, int], oblique: bool, slice_mm: float, threads: int) -> None:
    """Print seconds and bytes as JSON."""
    from cmc_sdk.bundle.manifest import IntensityRule
    from cmc_sdk.imaging.volume import Volume
    from cmc_sdk.runtime import core
    from cmc_sdk.runtime.host.memory import peak_rss_bytes, rss_bytes
    from cmc_sdk.runtime.results.record import hash_volume

    logits = make_logits()
    stored = make_scan(size)
    straight = np.diag([*SPACING_MM[:2], slice_mm, 1.0])
    scan = Volume(stored, turned(straight) if oblique else straight)
    grid = core.model_grid(straight, size, spacing_mm=MODEL_MM)
    if oblique:
        grid = core.extend_grid(grid, affine_mm=scan.affine_mm, size_vox=size)
    starts = core.window_starts(grid.size_vox, window_vox=WINDOW, overlap=0.5)
    axis = core.longest_axis(grid.size_vox)
    pool = core.Threads(threads)
    before = rss_bytes() or 0
    stages: dict[str, float] = {}

    def stage(name: str, since: float) -> float:
        now = time.perf_counter()
        stages[name] = stages.get(name, 0.0) + now - since
        return now

    since = time.perf_counter()
    rule = IntensityRule()
    statistics = core.intensity_statistics(scan, rule, threads=pool)
    since = stage("statistics", since)
    sampler = core.WindowSampler(scan, grid=grid, window_vox=WINDOW, starts=starts, rule=rule, statistics=statistics)
    accumulator = core.Accumulator(
        grid,
        target_affine_mm=scan.affine_mm,
        target_size_vox=size,
        num_classes=CLASSES,
        window_vox=WINDOW,
        starts=starts,
        threads=pool,
    )
    for start in sorted(starts, key=lambda item: (item[axis], item)):
        since = time.perf_counter()
        sampler.window(start, threads=pool)
        since = stage("sample", since)
        accumulator.add(logits, start=start)
        since = stage("blend", since)
    labels, confidence, _, _ = accumulator.finish()
    since = stage("blend", since)
    stages["label"] = accumulator.finalise_seconds
    stages["blend"] -= stages["label"]
    predicted = core.Accumulator.core_bytes(
        grid,
        target_affine_mm=scan.affine_mm,
        target_size_vox=size,
        num_classes=CLASSES,
        window_vox=WINDOW,
        starts=starts,
        threads=threads,
    ) + core.WindowSampler.core_bytes(scan, grid=grid, window_vox=WINDOW, starts=starts, threads=threads)
    peak = peak_rss_bytes() or 0
    since = time.perf_counter()
    core.count_components(labels, num_classes=CLASSES)
    since = stage("components", since)
    hash_volume(scan)
    stage("hash", since)
    total = sum(stages.values())
    figures = {
        "stages": {name: round(seconds, 3) for name, seconds in stages.items()},
        "seconds": total,
        "ns_per_voxel": total / stored.size * 1e9,
        "beside_scan_and_labels": peak - before - labels.nbytes - confidence.nbytes,
        "predicted": predicted,
        "windows": len(starts),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
