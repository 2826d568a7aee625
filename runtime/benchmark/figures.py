"""What a benchmark found: percentiles, a cold start by its parts, memory, and the share that is not the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from cmc_sdk.strict_model import StrictModel

__all__ = ["BenchReport", "BenchRun", "ColdStart", "Percentiles"]


class Percentiles(StrictModel):
    """Of `count` measured times, in seconds."""

    p50_s: float
    p90_s: float
    p99_s: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Percentiles:
        """The percentiles of at least one time, interpolated between measurements."""
        p50, p90, p99 = np.percentile(np.asarray(seconds), [50.0, 90.0, 99.0]).tolist()
        return cls(p50_s=p50, p90_s=p90, p99_s=p99, count=len(seconds))


class ColdStart(StrictModel):
    """From the start of a process to its first window, in seconds by part.

    Args:
        import_s: Start of the interpreter, and imports of cmc-sdk and of the inference library.
        hash_s: Opening the bundle, and reading and hashing its graphs.
        compile_s: The library's work on the graphs before they can run.
        first_window_s: The first window of all modalities through the network; what a library compiles only when it
            is first called is in here.
    """

    import_s: float
    hash_s: float
    compile_s: float
    first_window_s: float

    @property
    def total_s(self) -> float:
        """Start of the process to the end of its first window."""
        return self.import_s + self.hash_s + self.compile_s + self.first_window_s


class BenchRun(StrictModel):
    """One backend in one precision, in a process of its own.

    Args:
        reason: Why it was measured, or chosen.
        threads: As asked for; None: the library's own choice.
        streams: Windows in flight at once.
        cold: The start.
        windows: Network windows a case; windows of air that are reused are not among them.
        case: Seconds a case, from volumes in memory to labels in memory.
        window: Seconds a window in the network, all its graphs together; with several streams each takes its share of
            the cores, so that this is a latency and not one over the throughput.
        graphs: Seconds a call, by graph.
        windows_per_s: Windows of a case over its median time.
        outside_network: Share of a case's time that is not the network, [0, 1].
        stages: Seconds a case by stage, the mean over cases.
        peak_rss_bytes: Largest resident memory of the process; None where the system does not say.
        clock_mhz: Lowest and highest clock of the cores at the end; None where the system does not say.
    """

    backend: str
    precision: str
    reason: str | None
    threads: int | None
    streams: int
    cold: ColdStart
    windows: int
    case: Percentiles
    window: Percentiles
    graphs: dict[str, Percentiles]
    windows_per_s: float
    outside_network: float
    stages: dict[str, float]
    peak_rss_bytes: int | None
    clock_mhz: tuple[float, float] | None

    @property
    def name(self) -> str:
        """Backend and precision."""
        return f"{self.backend} {self.precision}"


class BenchReport(StrictModel):
    """What `bench_bundle` measured.

    Args:
        bundle: Its name and version.
        manifest_sha256: Of its manifest.
        time_utc: Start, ISO 8601.
        machine: Processor, system, cores, versions.
        modalities: All are present.
        size_vox: Of the synthetic scan; one per modality.
        runs: Measured backends and precisions, in the order of measurement.
        failed: What could not be measured, and why, by backend and precision.
    """

    bundle: str
    manifest_sha256: str
    time_utc: str
    machine: dict[str, str]
    modalities: tuple[str, ...]
    size_vox: tuple[int, int, int]
    runs: tuple[BenchRun, ...]
    failed: dict[str, str] = Field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        document: dict[str, Any] = self.model_dump(mode="json")
        for row, run in zip(document["runs"], self.runs, strict=True):
            row["cold"]["total_s"] = run.cold.total_s
        return document

    def relative(self) -> Mapping[str, float]:
        """How many times faster a case is than the slowest one here, by backend and precision."""
        slowest = max((run.case.p50_s for run in self.runs), default=0.0)
        return {run.name: slowest / run.case.p50_s for run in self.runs}
