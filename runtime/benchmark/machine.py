"""The machine under a benchmark: its processor, its clocks, the versions of what computes."""

from __future__ import annotations

import importlib.metadata
import platform

from cmc_sdk.runtime.core import usable_threads

__all__ = ["clock_mhz", "describe_machine"]

_LIBRARIES = ("cmc-sdk", "openvino", "onnxruntime", "onnxruntime-gpu", "numpy")


def describe_machine() -> dict[str, str]:
    """In words, for tables."""
    facts = {
        "processor": _cpuinfo("model name")[0] if _cpuinfo("model name") else platform.processor() or "unknown",
        "system": platform.platform(),
        "cores": str(usable_threads()),
        "python": platform.python_version(),
    }
    for name in _LIBRARIES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return facts


def clock_mhz() -> tuple[float, float] | None:
    """Lowest and highest clock of the cores now; None where the system does not say."""
    try:
        found = [float(value) for value in _cpuinfo("cpu MHz")]
    except ValueError:
        return None
    return (min(found), max(found)) if found else None


def _cpuinfo(key: str) -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    return [value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key]
