"""The NVIDIA driver, asked directly: is there one, which devices does it drive, and what are they.

TensorRT's Python `Runtime` ends the process where there is no driver, so this is asked first, always. The driver's C
library is called through ctypes: it is there wherever a device can be used, and nothing has to be installed.
"""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.tensorrt.build_key import DeviceKey

__all__ = ["Device", "DriverReport", "device_key", "find_devices", "load_driver", "require_device"]

_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _INTEGRATED = 75, 76, 18
LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")
_L4T_RELEASE = Path("/etc/nv_tegra_release")
_OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True)
class Device:
    """One GPU.

    Args:
        index: As the driver counts.
        name: As the driver says it.
        capability: `sm86` for 8.6.
        memory_bytes: Of the device; on a Jetson it is the machine's own.
        integrated: Whether it shares memory with the processor, as on a Jetson.
    """

    index: int
    name: str
    capability: str
    memory_bytes: int
    integrated: bool


@dataclass(frozen=True)
class DriverReport:
    """What was found; true if at least one device can be used.

    Args:
        version: Of the driver; None where it is not known.
        cuda: Newest CUDA that the driver runs, as (major, minor); None without a driver.
        devices: In the driver's order.
        note: Why there is no device; empty if there is one.
    """

    version: str | None
    cuda: tuple[int, int] | None
    devices: tuple[Device, ...]
    note: str

    def __bool__(self) -> bool:
        return bool(self.devices)


def load_driver() -> Any:
    """The driver's library, initialised.

    Raises:
        BackendError: There is none, or it finds no device to drive.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise BackendError(
            f"no NVIDIA driver: {LIBRARY} cannot be loaded", mend="install the driver, or use a CPU backend"
        ) from error
    code = library.cuInit(0)
    if code != 0:
        raise BackendError(
            f"the NVIDIA driver finds no device to use (cuInit gives error {code})",
            mend="check that the device is there and that this user may use it (nvidia-smi; groups video and render)",
        )
    return library


def find_devices() -> DriverReport:
    """Ask the driver; never raises."""
    try:
        library = load_driver()
    except BackendError as error:
        return DriverReport(_driver_version(), None, (), error.what)
    number, count = ctypes.c_int(0), ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(number))
    library.cuDeviceGetCount(ctypes.byref(count))
    cuda = (number.value // 1000, number.value % 1000 // 10)
    devices = tuple(_device(library, index) for index in range(count.value))
    return DriverReport(_driver_version(), cuda, devices, "" if devices else "the NVIDIA driver lists no device")


def require_device(index: int = 0) -> Device:
    """The device of that index.

    Raises:
        BackendError: There is none.
    """
    report = find_devices()
    if not report:
        raise BackendError(report.note, mend="use a CPU backend, or a machine with an NVIDIA GPU and its driver")
    if index >= len(report.devices):
        raise BackendError(
            f"there is no device {index}", mend=f"give 0 to {len(report.devices) - 1}; `cmc doctor` lists them"
        )
    return report.devices[index]


def device_key(device: Device) -> DeviceKey:
    """What `cmc verify` binds its word to."""
    report = find_devices()
    cuda = "unknown" if report.cuda is None else "{}.{}".format(*report.cuda)
    return DeviceKey(
        gpu=device.name,
        capability=device.capability,
        driver=report.version or f"for CUDA {cuda}",
        os=_system(),
    )


def _device(library: Any, index: int) -> Device:
    handle, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    library.cuDeviceGet(ctypes.byref(handle), index)
    library.cuDeviceGetName(name, len(name), handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)

    def attribute(number: int) -> int:
        value = ctypes.c_int(0)
        library.cuDeviceGetAttribute(ctypes.byref(value), number, handle)
        return value.value

    return Device(
        index=index,
        name=name.value.decode("utf-8", "replace"),
        capability=f"sm{attribute(_CAPABILITY_MAJOR)}{attribute(_CAPABILITY_MINOR)}",
        memory_bytes=memory.value,
        integrated=bool(attribute(_INTEGRATED)),
    )


def _driver_version() -> str | None:
    """The kernel module's version; on a Jetson also the release that it belongs to."""
    text = _text(_KERNEL_MODULE)
    found = re.search(r"Kernel Module.*?\s([0-9]+(?:\.[0-9]+)+)", text)
    release = re.match(r"#\s*R([0-9]+)[^,]*,\s*REVISION:\s*([0-9.]+)", _text(_L4T_RELEASE))
    words = ([found[1]] if found else []) + ([f"L4T {release[1]}.{release[2]}"] if release else [])
    return ", ".join(words) or None


def _system() -> str:
    facts = dict(
        line.split("=", 1) for line in _text(_OS_RELEASE).splitlines() if "=" in line and not line.startswith("#")
    )
    distribution = " ".join(facts[key].strip("\"'") for key in ("ID", "VERSION_ID") if key in facts)
    words = [platform.system(), distribution or platform.release(), platform.machine()]
    return " ".join(words)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
