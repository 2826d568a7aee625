"""The way of a scan through the windows: sample, encode, decode, blend, label; one group of scans at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.runtime.backends.base import Array, Backend
from cmc_sdk.runtime.core import Accumulator, Threads
from cmc_sdk.runtime.labelling.queue import Finished, Start, WindowQueue
from cmc_sdk.runtime.labelling.runner import StageSeconds, WindowRunner
from cmc_sdk.runtime.labelling.sampled_windows import open_samplers
from cmc_sdk.runtime.labelling.window_plan import Group
from cmc_sdk.runtime.results.labelled import Labelled
from cmc_sdk.runtime.scans.prepared import PreparedScan

__all__ = ["label_group"]


def label_group(
    group: Group,
    *,
    scans: Mapping[str, PreparedScan],
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
        scans: By modality.
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
            target_affine_mm=scans[name].volume.affine_mm,
            target_size_vox=scans[name].volume.size_vox,
            num_classes=spec.classes.num_classes,
            window_vox=spec.grid.window_vox,
            starts=group.starts,
            threads=threads,
        )
        for name in names
    }
    samplers = open_samplers(group, scans, spec=spec)
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
