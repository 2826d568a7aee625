"""The machine under a benchmark: its processor, its clocks, the versions of what computes."""

from __future__ import annotations

import importlib.metadata
import platform

from cmc_sdk.runtime.core import usable_threads
from cmc_sdk.runtime.host.processor import processor_facts, processor_name

__all__ = ["clock_mhz", "describe_machine"]

_LIBRARIES = ("cmc-sdk", "openvino", "onnxruntime", "onnxruntime-gpu", "numpy")


def describe_machine() -> dict[str, str]:
    """In words, for tables."""
    facts = {
        "processor": processor_name() or "unknown",
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
        found = [float(value) for value in processor_facts("cpu MHz")]
    except ValueError:
        return None
    return (min(found), max(found)) if found else None
