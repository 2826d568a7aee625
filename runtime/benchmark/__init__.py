"""How long a bundle takes on this machine, backend by backend, from the start of the process to the label."""

from __future__ import annotations

from cmc_sdk.runtime.benchmark.children import bench_bundle
from cmc_sdk.runtime.benchmark.figures import BenchReport, BenchRun, ColdStart, Percentiles

__all__ = ["BenchReport", "BenchRun", "ColdStart", "Percentiles", "bench_bundle"]
