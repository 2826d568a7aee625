"""The network on batches of windows, with the partners that are not there absent."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs

__all__ = ["StageSeconds", "WindowRunner"]


@dataclass
class StageSeconds:
    """Where the time of a run went, in seconds by stage; and how many windows were run or reused.

    Where windows run in several streams, the network's seconds are shared among them, and the core's run beside them:
    all stages may add up to more than the run took.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    windows: int = 0
    reused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, stage: str, since: float, *, streams: int = 1) -> float:
        """Add the time since `since`, or a stream's share of it, to `stage`; returns now."""
        now = time.perf_counter()
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + (now - since) / streams
        return now

    def count(self, windows: int) -> None:
        """Add windows that went through the network."""
        with self._lock:
            self.windows += windows


class WindowRunner:
    """Runs the network on batches of windows.

    Args:
        backend: Of the network.
        spec: Of the network.
        present: Modalities that every window has; the others are absent.
        stages: Gets the seconds of encoders and decoders, and the number of windows.
        streams: Threads that call `run` at once.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        spec: ModelSpec,
        present: Sequence[str],
        stages: StageSeconds | None = None,
        streams: int = 1,
    ) -> None:
        self._backend, self._spec, self._present = backend, spec, tuple(present)
        self._streams = streams
        self._stages = stages or StageSeconds()

    def run(self, windows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """Logits (B, K, X, Y, Z) of every present modality.

        Raises:
            BackendError: Logits of another shape, or not finite.
        """
        since = time.perf_counter()
        stacked = {name: np.stack([window[name] for window in windows])[:, None] for name in self._present}
        encoded = {name: self._backend.encode(name, stacked[name]) for name in self._present}
        since = self._stages.add("encode", since, streams=self._streams)
        shape = next(iter(encoded.values()))["features"].shape
        features = {
            name: encoded[name]["features"] if name in encoded else np.zeros(shape, np.float32)
            for name in self._spec.names
        }
        row = [1.0 if name in encoded else 0.0 for name in self._spec.names]
        presence = np.tile(np.array(row, np.float32), (len(windows), 1))
        logits = {}
        for name in self._present:
            found = self._backend.decode(name, DecoderInputs(features, presence, encoded[name], stacked[name]))
            expected = (len(windows), self._spec.classes.num_classes, *self._spec.grid.window_vox)
            if found.shape != expected:
                raise BackendError(
                    f"the network's logits of {name} have shape {found.shape}, expected {expected}: "
                    f"{expected[1]} classes with background",
                    mend="give the specification (classes and window) that the network was trained with",
                )
            if not _all_finite(found):
                raise BackendError(
                    f"{self._backend.name} {self._backend.precision} gave logits of {name} that are not finite",
                    mend="run `cmc verify` on this machine, or choose another backend",
                )
            logits[name] = found
        self._stages.add("decode", since, streams=self._streams)
        self._stages.count(len(windows))
        return logits


def _all_finite(values: Array) -> bool:
    """Read once: a sum is not finite if a value is not; where finite values make it overflow, each is looked at."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    return bool(np.isfinite(total) or np.isfinite(values).all())
