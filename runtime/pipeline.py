"""The way of a scan through the windows: sample, encode, decode, blend, label; one group of scans at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import BackendError
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.backends.protocol import Array, Backend
from cmc_sdk.runtime.core import Accumulator, IntensityStatistics, constant_value, normalise, sample_window
from cmc_sdk.runtime.plan import Group

__all__ = ["Labelled", "StageSeconds", "label_group"]

Start = tuple[int, int, int]


@dataclass
class StageSeconds:
    """Where the time of a run went, in seconds by stage; and how many windows were run or reused."""

    seconds: dict[str, float] = field(default_factory=dict)
    windows: int = 0
    reused: int = 0

    def add(self, stage: str, since: float) -> float:
        """Add the time since `since` to `stage`; returns now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now


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
    stages: StageSeconds,
    progress: Callable[[int], None],
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
        batch: Windows that are run at once, at least 1.
        stages: Gets the seconds.
        progress: Called with the number of windows done in this group.

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
        )
        for name in names
    }
    runner = _Runner(backend, spec=spec, present=names, stages=stages)
    air: tuple[tuple[float, ...], dict[str, Array]] | None = None
    waiting: list[tuple[Start, dict[str, Array]]] = []

    def blend(start: Start, logits: Mapping[str, Array]) -> None:
        since = time.perf_counter()
        for name in names:
            accumulators[name].add(logits[name], start=start)
        stages.add("blend", since)

    def flush() -> None:
        if waiting:
            for index, (start, _) in enumerate(waiting):
                if index == 0:
                    found = runner.run([windows for _, windows in waiting])
                blend(start, {name: found[name][index] for name in names})
            waiting.clear()

    for done, start in enumerate(group.starts, 1):
        since = time.perf_counter()
        windows = _windows(start, group=group, volumes=volumes, statistics=statistics, spec=spec)
        values = tuple(constant_value(windows[name]) for name in names)
        stages.add("sample", since)
        constant = tuple(value for value in values if value is not None)
        if len(constant) == len(names):
            flush()  # windows are blended in their order, whatever the batch
            if air is None or air[0] != constant:
                air = (constant, {name: found[0] for name, found in runner.run([windows]).items()})
            else:
                stages.reused += 1
            blend(start, air[1])
        else:
            waiting.append((start, windows))
            if len(waiting) == batch:
                flush()
        progress(done)
    flush()
    result = {}
    since = time.perf_counter()
    for name in names:
        result[name] = Labelled(*accumulators[name].finish())
    stages.add("blend", since)
    finalise = sum(item.finalise_seconds for item in accumulators.values())
    stages.seconds["finalise"] = stages.seconds.get("finalise", 0.0) + finalise
    stages.seconds["blend"] -= finalise
    return result


def _windows(
    start: Start,
    *,
    group: Group,
    volumes: Mapping[str, Volume],
    statistics: Mapping[str, IntensityStatistics],
    spec: ModelSpec,
) -> dict[str, Array]:
    """The normalised window (X, Y, Z) at `start` of every modality of the group."""
    affine = group.grid.affine_mm.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(start, np.float64)
    found = {}
    for name in group.modalities:
        raw = sample_window(
            volumes[name],
            affine_mm=affine,
            size_vox=spec.grid.window_vox,
            background=statistics[name].background,
        )
        found[name] = normalise(raw, rule=spec.modality(name).intensity, statistics=statistics[name])
    return found


class _Runner:
    """Runs the network on batches of windows, with the partners that are not there absent."""

    def __init__(self, backend: Backend, *, spec: ModelSpec, present: Sequence[str], stages: StageSeconds) -> None:
        self._backend, self._spec, self._present, self._stages = backend, spec, tuple(present), stages

    def run(self, windows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """Logits (B, K, X, Y, Z) of every present modality."""
        since = time.perf_counter()
        stacked = {name: np.stack([window[name] for window in windows])[:, None] for name in self._present}
        encoded = {name: self._backend.encode(name, stacked[name]) for name in self._present}
        since = self._stages.add("encode", since)
        shape = next(iter(encoded.values()))["features"].shape
        features = {
            name: encoded[name]["features"] if name in encoded else np.zeros(shape, np.float32)
            for name in self._spec.names
        }
        row = [1.0 if name in encoded else 0.0 for name in self._spec.names]
        presence = np.tile(np.array(row, np.float32), (len(windows), 1))
        logits = {}
        for name in self._present:
            found = self._backend.decode(
                name, features=features, presence=presence, encoded=encoded[name], window=stacked[name]
            )
            expected = (len(windows), self._spec.classes.num_classes, *self._spec.grid.window_vox)
            if found.shape != expected:
                raise BackendError(
                    f"the network's logits of {name} have shape {found.shape}, expected {expected}: "
                    f"{expected[1]} classes with background",
                    mend="give the specification (classes and window) that the network was trained with",
                )
            if not (np.isfinite(found.min()) and np.isfinite(found.max())):
                raise BackendError(
                    f"{self._backend.name} {self._backend.precision} gave logits of {name} that are not finite",
                    mend="run `cmc verify` on this machine, or choose another backend",
                )
            logits[name] = found
        self._stages.add("decode", since)
        self._stages.windows += len(windows)
        return logits
