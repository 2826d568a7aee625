"""How long a bundle takes on this machine, from the door to the label, and where the time goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmc_sdk.bundle.trust import Trust
from cmc_sdk.errors import InputError
from cmc_sdk.runtime.backends.protocol import Array, Backend
from cmc_sdk.runtime.backends.select import BackendChoice
from cmc_sdk.runtime.memory import peak_rss_bytes
from cmc_sdk.runtime.segmenter import Segmenter
from cmc_sdk.runtime.session import Session
from cmc_sdk.runtime.synthetic import synthetic_case

__all__ = ["BenchReport", "Percentiles", "bench_bundle"]


@dataclass(frozen=True)
class Percentiles:
    """Of `count` measured times, in seconds."""

    p50: float
    p90: float
    p99: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Percentiles:
        """The percentiles of at least one time, interpolated between measurements."""
        p50, p90, p99 = np.percentile(np.asarray(seconds), [50.0, 90.0, 99.0]).tolist()
        return cls(p50=p50, p90=p90, p99=p99, count=len(seconds))

    def to_dict(self) -> dict[str, float]:
        """In seconds, for JSON."""
        return {"p50_s": self.p50, "p90_s": self.p90, "p99_s": self.p99, "count": self.count}


@dataclass(frozen=True)
class BenchReport:
    """What `bench_bundle` measured after a warm-up.

    Args:
        bundle: Its name and version.
        first_s: Seconds from opening the bundle, compiling its graphs included, to the first scan's labels.
        size_vox: Of the synthetic scan; one per modality.
        windows: Network windows a case.
        case: Seconds a case, from volumes in memory to labels in memory.
        window: Seconds a window in the network, all its graphs together.
        graphs: Seconds a call, by graph.
        outside_network: Share of a case's time that is not the network, [0, 1].
        peak_rss_bytes: Largest resident memory of this process so far; None where the system does not say.
    """

    bundle: str
    backend: str
    precision: str
    threads: int | None
    first_s: float
    modalities: tuple[str, ...]
    size_vox: tuple[int, int, int]
    windows: int
    case: Percentiles
    window: Percentiles
    graphs: Mapping[str, Percentiles]
    outside_network: float
    peak_rss_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {
            "bundle": self.bundle,
            "backend": self.backend,
            "precision": self.precision,
            "threads": self.threads,
            "first_s": self.first_s,
            "modalities": list(self.modalities),
            "size_vox": list(self.size_vox),
            "windows": self.windows,
            "case": self.case.to_dict(),
            "window": self.window.to_dict(),
            "graphs": {name: item.to_dict() for name, item in self.graphs.items()},
            "outside_network": self.outside_network,
            "peak_rss_bytes": self.peak_rss_bytes,
        }


class TimedBackend:
    """A backend that notes the seconds of each call of the one it wraps."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name = backend.name
        self.precision = backend.precision
        self.modalities = backend.modalities
        self.seconds: dict[str, list[float]] = {}

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As the wrapped backend."""
        start = time.perf_counter()
        encoded = self._backend.encode(modality, window)
        self._note(f"encoder_{modality}", start)
        return encoded

    def decode(
        self,
        modality: str,
        *,
        features: Mapping[str, Array],
        presence: Array,
        encoded: Mapping[str, Array],
        window: Array,
    ) -> Array:
        """As the wrapped backend."""
        start = time.perf_counter()
        logits = self._backend.decode(modality, features=features, presence=presence, encoded=encoded, window=window)
        self._note(f"decoder_{modality}", start)
        return logits

    def _note(self, graph: str, start: float) -> None:
        self.seconds.setdefault(graph, []).append(time.perf_counter() - start)


def bench_bundle(
    bundle: str | os.PathLike[str],
    *,
    trust: Trust | None = None,
    backend: BackendChoice = "auto",
    threads: int | None = None,
    runs: int = 5,
    progress: Callable[[str, int, int], None] | None = None,
) -> BenchReport:
    """Label one synthetic scan, with all modalities present, `runs` times after one run that is not counted.

    Args:
        bundle: The folder `NAME.cmc`.
        trust: As for `Session`.
        backend: As for `Session`.
        threads: As for `Session`.
        runs: Measured cases, at least 1.
        progress: Called with ("cases", done, runs).

    Raises:
        InputError: `runs` is below 1.
        BundleError: The bundle is not what it says.
        BackendError: No backend can run it.
    """
    if runs < 1:
        raise InputError(f"{runs} runs measure nothing", mend="give --runs 1 or more")
    start = time.perf_counter()
    session = Session(bundle, trust=trust, backend=backend, threads=threads)
    opening_s = time.perf_counter() - start
    timed = TimedBackend(session.backend)
    segmenter = Segmenter(session.spec, timed)
    images = synthetic_case(session.spec, seed=0)
    # The warm-up: graphs are compiled when they are first called.
    start = time.perf_counter()
    segmenter.infer(images, pairing="registered")
    first_s = opening_s + time.perf_counter() - start
    timed.seconds = {}
    cases: list[float] = []
    for index in range(runs):
        start = time.perf_counter()
        segmenter.infer(images, pairing="registered")
        cases.append(time.perf_counter() - start)
        if progress is not None:
            progress("cases", index + 1, runs)
    # Every graph is called once a window, in the order of the windows.
    windows = [sum(calls) for calls in zip(*timed.seconds.values(), strict=True)]
    manifest = session.bundle.manifest
    return BenchReport(
        bundle=f"{manifest.name} {manifest.version}",
        backend=timed.name,
        precision=timed.precision,
        threads=threads,
        first_s=first_s,
        modalities=session.spec.names,
        size_vox=next(iter(images.values())).size_vox,
        windows=len(windows) // runs,
        case=Percentiles.of(cases),
        window=Percentiles.of(windows),
        graphs={name: Percentiles.of(seconds) for name, seconds in timed.seconds.items()},
        outside_network=1.0 - sum(windows) / sum(cases),
        peak_rss_bytes=peak_rss_bytes(),
    )
