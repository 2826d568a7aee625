"""What a session costs on this machine: bytes and seconds, measured once, on one window."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmc_sdk.bundle.manifest import IntensityRule, ModelSpec
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.backends.base import Array, Backend
from cmc_sdk.runtime.core import (
    Accumulator,
    Threads,
    WindowSampler,
    intensity_statistics,
    model_grid,
    window_starts,
)
from cmc_sdk.runtime.host.memory import PeakWatch, peak_rss_bytes
from cmc_sdk.runtime.labelling.queue import Start, WindowQueue
from cmc_sdk.runtime.labelling.runner import WindowRunner

__all__ = ["CoreRates", "SessionCost", "measure_core", "measure_session"]

_BLENDING_S = 0.01
"""About what blending one window takes; longer than `PeakWatch` looks away."""


@dataclass(frozen=True)
class SessionCost:
    """The network and its library, with some modalities present and some batch of windows.

    Args:
        batch: Windows in one call of the network.
        streams: Calls at once.
        load_peak_bytes: Largest resident memory of the process up to the end of the measurement; None: unknown.
        running_bytes: Resident memory of the process while batches run, all that was there before but scans included.
        batch_s: Seconds for a batch after a warm-up; with several streams, their share of the time that they take.
    """

    batch: int
    streams: int
    load_peak_bytes: int | None
    running_bytes: int | None
    batch_s: float


@dataclass(frozen=True)
class CoreRates:
    """All that is not the network, in seconds.

    Args:
        window_s: To sample and to blend one window of one modality.
        voxel_s: To read, label and judge one voxel of a scan's own grid.
    """

    window_s: float
    voxel_s: float


def measure_session(
    backend: Backend, *, spec: ModelSpec, present: Sequence[str], batch: int, streams: int = 1, scans_bytes: int = 0
) -> SessionCost:
    """Run noise twice in every stream: the first time compiles what the library compiles late, the second is timed.

    Args:
        backend: Loaded or not; what it loads late is loaded here. It is left ready for `streams`.
        spec: Of the network.
        present: Modalities that will be given.
        batch: Windows in one call.
        streams: Calls at once.
        scans_bytes: Of scans that are in memory already; left out of what is measured.
    """
    generator = np.random.Generator(np.random.Philox(0))
    backend.set_streams(streams)
    runner = WindowRunner(backend, spec=spec, present=present)
    windows = [
        {name: generator.standard_normal(spec.grid.window_vox, dtype=np.float32) for name in present}
        for _ in range(batch)
    ]
    starts = [(0, 0, 0)] * batch
    before = peak_rss_bytes()
    with PeakWatch() as loading:
        _run_all(runner, starts, windows, streams=streams, calls=streams)
    # Twice over, so that every stream computes while the logits of an earlier call are still held.
    calls = 1 if streams == 1 else 2 * streams
    with PeakWatch() as watch:
        since = time.perf_counter()
        _run_all(runner, starts, windows, streams=streams, calls=calls)
        seconds = (time.perf_counter() - since) / calls
    # The system's mark of the process misses nothing, but may be that of an earlier, larger run.
    mark = peak_rss_bytes()
    peaks = [peak for peak in (loading.peak_bytes, watch.peak_bytes) if peak is not None]
    if before is not None and mark is not None and mark > before:
        peaks.append(mark)
    running = None if watch.peak_bytes is None else max(0, watch.peak_bytes - scans_bytes)
    return SessionCost(batch, streams, load_peak_bytes=max(peaks, default=None), running_bytes=running, batch_s=seconds)


def _run_all(
    runner: WindowRunner, starts: Sequence[Start], windows: Sequence[Mapping[str, Array]], *, streams: int, calls: int
) -> None:
    """Batches in every stream at once, their logits held as a run holds them while it blends."""
    with WindowQueue(runner, streams=streams) as queue:
        for _ in range(calls):
            finished = queue.put(starts, windows)
            if finished and streams > 1:
                time.sleep(_BLENDING_S)
            del finished
        for _ in queue.drain():
            pass


def measure_core(spec: ModelSpec, *, threads: Threads) -> CoreRates:
    """Sample, blend and label two windows' worth of a scan of twice the model's resolution across."""
    x, y, z = spec.grid.window_vox
    spacing = (spec.grid.spacing_mm[0] / 2, spec.grid.spacing_mm[1] / 2, spec.grid.spacing_mm[2])
    generator = np.random.Generator(np.random.Philox(0))
    stored = generator.integers(0, 1000, (2 * x, 2 * y, z), dtype=np.int16)
    volume = Volume(stored, np.diag([*spacing, 1.0]))
    rule: IntensityRule = spec.modalities[0].intensity
    grid = model_grid(volume.affine_mm, volume.size_vox, spacing_mm=spec.grid.spacing_mm)
    starts = window_starts(grid.size_vox, window_vox=spec.grid.window_vox, overlap=spec.grid.overlap)
    classes = spec.classes.num_classes
    logits = np.zeros((classes, x, y, z), np.float32)
    # Logits without one clear winner, so that labelling takes the time that it takes on a scan.
    logits += generator.standard_normal((classes, x, y, 1), dtype=np.float32)
    window_s, voxel_s = np.inf, np.inf
    for _ in range(2):  # the first pass warms caches and pages
        accumulator = Accumulator(
            grid,
            target_affine_mm=volume.affine_mm,
            target_size_vox=volume.size_vox,
            num_classes=classes,
            window_vox=spec.grid.window_vox,
            starts=starts,
            threads=threads,
        )
        since = time.perf_counter()
        statistics = intensity_statistics(volume, rule, threads=threads)
        statistics_s = time.perf_counter() - since
        sampler = WindowSampler(
            volume,
            grid=grid,
            window_vox=spec.grid.window_vox,
            starts=starts,
            rule=rule,
            statistics=statistics,
        )
        since = time.perf_counter()
        for start in starts:
            sampler.window(start, threads=threads)
            accumulator.add(logits, start=start)
        blended = time.perf_counter()
        accumulator.finish()
        window_s = min(window_s, (blended - since) / len(starts))
        voxel_s = min(voxel_s, (time.perf_counter() - blended + statistics_s) / stored.size)
    return CoreRates(window_s=float(window_s), voxel_s=float(voxel_s))
