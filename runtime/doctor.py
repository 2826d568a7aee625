"""What this machine can do: versions, backends, memory, and faults of the installation."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cmc_sdk.runtime.backends.providers import GPU_PROVIDERS, probe_provider
from cmc_sdk.runtime.backends.select import PRECISIONS_OF
from cmc_sdk.runtime.host.packages import PACKAGES, installed_version
from cmc_sdk.threads import usable_threads

__all__ = ["BackendState", "MachineReport", "NvidiaState", "examine_machine"]


@dataclass(frozen=True)
class BackendState:
    """One backend: whether it runs here, at which precisions, on which devices, and if not, why not."""

    usable: bool
    version: str | None
    precisions: tuple[str, ...]
    devices: tuple[str, ...]
    note: str


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
    backends = {"onnxruntime": _onnxruntime(), "openvino": _openvino()} | _gpu_providers()
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
        openvino_telemetry_blocked=_telemetry_blocked() if packages["openvino"] else None,
        faults=tuple(_faults(packages, backends)),
    )


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


def _onnxruntime() -> BackendState:
    version = installed_version("onnxruntime") or installed_version("onnxruntime-gpu")
    if not _present("onnxruntime"):
        return BackendState(False, None, (), (), "not installed")
    try:
        import onnxruntime

        providers = onnxruntime.get_available_providers()
    except Exception as error:  # a broken native library fails in ways of its own
        return BackendState(False, version, (), (), f"{type(error).__name__}: {error}")
    # The only provider that the backend asks for, whatever else the library was built with.
    if "CPUExecutionProvider" not in providers:
        return BackendState(False, version, (), (), f"no CPU provider, only {', '.join(providers)}")
    return BackendState(True, version, PRECISIONS_OF["onnxruntime"], ("CPU",), "")


def _gpu_providers() -> dict[str, BackendState]:
    """ONNX Runtime's providers for GPUs: only of the package that has them."""
    version = installed_version("onnxruntime-gpu")
    if version is None or not _present("onnxruntime"):
        return {}
    states: dict[str, BackendState] = {}
    for name in GPU_PROVIDERS:
        fault = probe_provider(name)
        states[name] = BackendState(
            fault is None, version, () if fault else PRECISIONS_OF[name], () if fault else ("CUDA",), fault or ""
        )
    return states


def _openvino() -> BackendState:
    version = installed_version("openvino")
    if not _present("openvino"):
        return BackendState(False, None, (), (), "not installed")
    try:
        from cmc_sdk.runtime.backends.openvino import computes_bf16, import_openvino

        devices = import_openvino().Core().available_devices
        bf16 = "CPU" in devices and computes_bf16()
    except Exception as error:  # a broken native library fails in ways of its own
        return BackendState(False, version, (), (), f"{type(error).__name__}: {error}")
    if "CPU" not in devices:
        return BackendState(False, version, (), (), f"no CPU plug-in, only {', '.join(devices) or 'none'}")
    precisions = tuple(name for name in PRECISIONS_OF["openvino"] if bf16 or name != "bf16")
    return BackendState(True, version, precisions, ("CPU",), "" if bf16 else "this processor has no bf16")


def _telemetry_blocked() -> bool:
    """After `_openvino` ran: the module that reports home must not have come in with it, only nothing or a stand-in."""
    return getattr(sys.modules.get("openvino_telemetry"), "__file__", None) is None


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
