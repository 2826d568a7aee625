"""What `cmc doctor` says of each inference library: whether it is there, whether it works, and in which precisions."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.runtime.backends.providers import ProviderName, probe_provider
from cmc_sdk.runtime.backends.row import BackendState

__all__ = ["examine_onnxruntime", "examine_openvino", "examine_provider", "openvino_telemetry_blocked"]


def examine_onnxruntime(precisions: tuple[Precision, ...]) -> BackendState:
    """ONNX Runtime on the CPU."""
    version = _version("onnxruntime") or _version("onnxruntime-gpu")
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
    return BackendState(True, version, precisions, ("CPU",), "")


def examine_provider(name: ProviderName, precisions: tuple[Precision, ...]) -> BackendState | None:
    """One of ONNX Runtime's providers for GPUs; None without the package that has them."""
    version = _version("onnxruntime-gpu")
    if version is None or not _present("onnxruntime"):
        return None
    fault = probe_provider(name)
    return BackendState(fault is None, version, () if fault else precisions, () if fault else ("CUDA",), fault or "")


def examine_openvino(precisions: tuple[Precision, ...]) -> BackendState:
    """OpenVINO on the CPU."""
    version = _version("openvino")
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
    able = tuple(name for name in precisions if bf16 or name != "bf16")
    return BackendState(True, version, able, ("CPU",), "" if bf16 else "this processor has no bf16")


def openvino_telemetry_blocked() -> bool:
    """After OpenVINO was examined: the module that reports home must not have come in, only nothing or a stand-in."""
    return getattr(sys.modules.get("openvino_telemetry"), "__file__", None) is None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _present(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
