"""The processor under this process, as the system describes it."""

from __future__ import annotations

import platform
import re
from pathlib import Path

__all__ = ["is_zen4", "processor_facts", "processor_name"]

CPUINFO = Path("/proc/cpuinfo")


def processor_facts(key: str) -> list[str]:
    """What Linux says under `key` in `/proc/cpuinfo`, one entry a core; empty on other systems."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key]


def processor_name() -> str:
    """As Linux says it; elsewhere what Python knows."""
    names = processor_facts("model name")
    return names[0] if names else platform.processor() or platform.machine()


def is_zen4() -> bool:
    """Whether this is an AMD processor of family 19h with AVX-512, which computes 512 bits in two steps of 256."""
    if flags := processor_facts("flags"):
        is_amd = processor_facts("vendor_id")[:1] == ["AuthenticAMD"]
        return is_amd and processor_facts("cpu family")[:1] == ["25"] and "avx512f" in flags[0].split()
    # Windows, in the words of the processor itself. Zen 3 is of the same family and has no AVX-512 to keep from.
    name = platform.processor()
    return "AuthenticAMD" in name and re.search(r"\bFamily 25\b", name) is not None
