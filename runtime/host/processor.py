"""The processor under this process, as the system describes it. How many of its cores are usable: `cmc_sdk.threads`."""

from __future__ import annotations

import functools
import platform
import re
from pathlib import Path

__all__ = ["clock_mhz", "is_zen4", "processor_facts", "processor_name"]

CPUINFO = Path("/proc/cpuinfo")


def processor_facts(key: str) -> list[str]:
    """What Linux said under `key` in `/proc/cpuinfo` when it was first asked, one entry a core; empty elsewhere.

    The file is read once a process: on a machine with many cores the system takes milliseconds to write it.
    """
    return _under(key, _first_lines(CPUINFO))


def processor_name() -> str:
    """As Linux says it; elsewhere what Python knows."""
    names = processor_facts("model name")
    return names[0] if names else platform.processor() or platform.machine()


def clock_mhz() -> tuple[float, float] | None:
    """Lowest and highest clock of the cores now, read anew each time; None where the system does not say."""
    try:
        found = [float(value) for value in _under("cpu MHz", _lines(CPUINFO))]
    except ValueError:
        return None
    return (min(found), max(found)) if found else None


def is_zen4() -> bool:
    """Whether this is an AMD processor of family 19h with AVX-512, which computes 512 bits in two steps of 256."""
    if flags := processor_facts("flags"):
        is_amd = processor_facts("vendor_id")[:1] == ["AuthenticAMD"]
        return is_amd and processor_facts("cpu family")[:1] == ["25"] and "avx512f" in flags[0].split()
    # Windows, in the words of the processor itself. Zen 3 is of the same family and has no AVX-512 to keep from.
    name = platform.processor()
    return "AuthenticAMD" in name and re.search(r"\bFamily 25\b", name) is not None


@functools.cache
def _first_lines(path: Path) -> tuple[str, ...]:
    return _lines(path)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return ()


def _under(key: str, lines: tuple[str, ...]) -> list[str]:
    return [value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key]
