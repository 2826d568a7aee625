"""The way of a scan through the windows: sample, encode, decode, blend, label; one group of scans at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.backends.base import Array, Backend, PreparingBackend
from cmc_sdk.runtime.core import Accumulator, IntensityStatistics, Threads, WindowSampler
from cmc_sdk.runtime.labelling.groups import Group
from cmc_sdk.runtime.labelling.queue import Finished, Start, WindowQueue
from cmc_sdk.runtime.labelling.runner import StageSeconds, WindowRunner

__all__ = ["Labelled", "label_group"]


@dataclass(frozen=True)
class Labelled:
    """What one modality's scan became, on its own grid.

    Args:
        labels: (X, Y, Z) uint8.
        confidence: (X, Y, Z) uint8, in steps of 1/255: softmax of the label.
        counts: (K,) voxels by class.
        confidence_sums: (K,) summed confidence in [0, 1] by class.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.int64]
    confidence_sums: npt.NDArray[np.float64]


def label_group(
    group: Group,
    *,
    volumes: Mapping[str, Volume],
    statistics: Mapping[str, IntensityStatistics],
    spec: ModelSpec,
    backend: Backend,
    batch: int,
    streams: int,
    threads: Threads,
    stages: StageSeconds,
    progress: Callable[[int], None],
    checkpoint: Callable[[], None],
) -> dict[str, Labelled]:
    """Label every scan of `group` on its own grid.

    A window in which every present input is one constant value (air) is run once for each combination of values that
    follows itself, and reused: equal inputs give equal outputs.

    Args:
        group: What runs together, on which grid, in which windows.
        volumes: By modality.
        statistics: By modality.
        spec: Of the network.
        backend: Runs it.
        batch: Windows in one call of the network, at least 1.
        streams: Calls at once, at least 1.
        threads: For all that is not the network.
        stages: Gets the seconds.
        progress: Called with the number of windows done in this group.
        checkpoint: Called before each window; ends the run by raising.

    Raises:
        BackendError: The network gave logits of another shape, or a value that is not finite.
    """
    names = group.modalities
    accumulators = {
        name: Accumulator(
            group.grid,
            target_affine_mm=volumes[name].affine_mm,
            target_size_vox=volumes[name].size_vox,
            num_classes=spec.classes.num_classes,
            window_vox=spec.grid.window_vox,
            starts=group.starts,
            threads=threads,
        )
        for name in names
    }
    samplers = {
        name: WindowSampler(
            volumes[name],
            grid=group.grid,
            window_vox=spec.grid.window_vox,
            starts=group.starts,
            rule=spec.modality(name).intensity,
            statistics=statistics[name],
        )
        for name in names
    }
    if isinstance(backend, PreparingBackend):
        since = time.perf_counter()
        backend.prepare(names, batch=min(batch, len(group.starts)))
        stages.add("load", since)
    runner = WindowRunner(backend, spec=spec, present=names, stages=stages, streams=streams)
    waiting: list[tuple[Start, dict[str, Array]]] = []
    done = 0

    def blend(finished: Iterable[Finished]) -> None:
        nonlocal done
        for start, logits in finished:
            since = time.perf_counter()
            for name in names:
                accumulators[name].add(logits[name], start=start)
            stages.add("blend", since)
            done += 1
            progress(done)

    with WindowQueue(runner, streams=streams) as queue:

        def flush() -> None:
            if waiting:
                starts, windows = zip(*waiting, strict=True)
                waiting.clear()
                blend(queue.put(starts, windows))

        for start in group.starts:
            checkpoint()
            since = time.perf_counter()
            sampled = {name: samplers[name].window(start, threads=threads) for name in names}
            windows = {name: window for name, (window, _) in sampled.items()}
            constant = tuple(value for _, value in sampled.values() if value is not None)
            stages.add("sample", since)
            if len(constant) == len(names):
                flush()  # windows are blended in their order, whatever the batch
                reused, finished = queue.put_constant(start, windows, values=constant)
                stages.reused += reused
                blend(finished)
            else:
                waiting.append((start, windows))
                if len(waiting) == batch:
                    flush()
        flush()
        blend(queue.drain())
    checkpoint()
    result = {}
    since = time.perf_counter()
    for name in names:
        result[name] = Labelled(*accumulators[name].finish())
    stages.add("blend", since)
    finalise = sum(item.finalise_seconds for item in accumulators.values())
    stages.seconds["finalise"] = stages.seconds.get("finalise", 0.0) + finalise
    stages.seconds["blend"] -= finalise
    return result
