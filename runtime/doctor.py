"""What this machine can do: versions, backends, memory, and faults of the installation."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cmc_sdk.runtime.backends.catalogue import CATALOGUE
from cmc_sdk.runtime.backends.examine import openvino_telemetry_blocked
from cmc_sdk.runtime.backends.row import BackendState
from cmc_sdk.runtime.host.packages import PACKAGES, installed_version
from cmc_sdk.threads import usable_threads

__all__ = ["MachineReport", "NvidiaState", "examine_machine"]


@dataclass(frozen=True)
class NvidiaState:
    """NVIDIA devices, and what builds and runs engines for them; nothing of it is needed.

    Args:
        driver: Its version; None where it is not known.
        cuda: Newest CUDA that the driver runs; None without a driver.
        devices: Name, compute capability and memory of each.
        note: Why there is no device; empty if there is one.
        tensorrt: Version by flavour, or why it cannot be used.
    """

    driver: str | None
    cuda: str | None
    devices: tuple[str, ...]
    note: str
    tensorrt: Mapping[str, str]


@dataclass(frozen=True)
class MachineReport:
    """What `examine_machine` found; true if no fault was found.

    Args:
        cores: Cores that this process may use.
        memory_bytes: Physical memory; None where the system does not say.
        packages: Version by distribution, None for one that is not installed.
        backends: State by backend.
        rooms: Whether `train` and `export` can work here.
        nvidia: Driver, devices and TensorRT.
        openvino_telemetry_blocked: Whether importing OpenVINO opens no socket; None if it is not installed.
        faults: One line each: what is wrong and how to mend it.
    """

    python: str
    platform: str
    machine: str
    cores: int
    memory_bytes: int | None
    packages: Mapping[str, str | None]
    backends: Mapping[str, BackendState]
    rooms: Mapping[str, bool]
    nvidia: NvidiaState
    openvino_telemetry_blocked: bool | None
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return asdict(self)


def examine_machine() -> MachineReport:
    """Look at this machine; imports the inference backends, never torch."""
    packages = {name: installed_version(name) for name in PACKAGES}
    backends = _backends()
    return MachineReport(
        python=platform.python_version(),
        platform=platform.platform(),
        machine=platform.machine(),
        cores=usable_threads(),
        memory_bytes=_memory_bytes(),
        packages=packages,
        backends=backends,
        rooms={
            "train": all(map(_present, ("torch", "monai", "lightning_fabric", "safetensors"))),
            "export": all(map(_present, ("torch", "onnx", "onnxscript", "onnxruntime"))),
        },
        nvidia=_nvidia(),
        openvino_telemetry_blocked=openvino_telemetry_blocked() if packages["openvino"] else None,
        faults=tuple(_faults(packages, backends)),
    )


def _backends() -> dict[str, BackendState]:
    """What there is to say of each backend: first of those that may be chosen without being named."""
    rows = sorted(CATALOGUE.values(), key=lambda row: (not row.ranks, row.name))
    states = {row.name: row.examine(row.precisions) for row in rows}
    return {name: state for name, state in states.items() if state is not None}


def _faults(packages: Mapping[str, str | None], backends: Mapping[str, BackendState]) -> list[str]:
    found = []
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        found.append(
            "onnxruntime and onnxruntime-gpu are both installed: they share one folder, and which one runs is chance; "
            "run `pip uninstall -y onnxruntime onnxruntime-gpu`, then install cmc-sdk[cpu] or cmc-sdk[cuda]"
        )
    if not any(state.usable for state in backends.values()):
        found.append("no inference backend works here: install one with `pip install 'cmc-sdk[cpu]'`")
    found += [
        f"{name} is installed but cannot run: {state.note}"
        for name, state in backends.items()
        if state.version and not state.usable
    ]
    return found


def _nvidia() -> NvidiaState:
    from cmc_sdk.runtime.backends.tensorrt.driver import find_devices
    from cmc_sdk.runtime.backends.tensorrt.flavour import find_flavours

    report = find_devices()
    return NvidiaState(
        driver=report.version,
        cuda=None if report.cuda is None else "{}.{}".format(*report.cuda),
        devices=tuple(
            f"{item.name} ({item.capability}, {item.memory_bytes / 2**30:.1f} GiB)" for item in report.devices
        ),
        note=report.note,
        tensorrt={item.name: item.note or item.version or "unknown" for item in find_flavours()},
    )


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _present(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
