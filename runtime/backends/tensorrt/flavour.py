"""Which TensorRT is here, and the few places where its flavours differ.

Three are known. `tensorrt` 10.3 and later (JetPack 6, servers) must be told to be strongly typed. `tensorrt` 11 is
always so. `tensorrt_rtx` is always so too, builds for devices that are not there, and times nothing while it builds.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cmc_sdk.errors import BackendError, InputError
from cmc_sdk.runtime.backends.tensorrt.build_key import FlavourName
from cmc_sdk.runtime.host.packages import installed_version

__all__ = ["RTX_CAPABILITIES", "Flavour", "FlavourState", "choose_flavour", "find_flavours", "load_flavour"]

FLAVOURS: tuple[FlavourName, ...] = ("tensorrt", "tensorrt_rtx")
OLDEST = (10, 3)
# Asked of TensorRT-RTX 1.7 itself where it is installed; this is for messages where it is not.
RTX_CAPABILITIES = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")


@dataclass(frozen=True)
class FlavourState:
    """A flavour as `cmc doctor` tells it, without importing it.

    Args:
        version: Of the package; None where it is not installed.
        note: Why it cannot be used; empty if it can.
    """

    name: FlavourName
    version: str | None
    note: str


class Flavour:
    """One imported TensorRT.

    Args:
        name: Which.
        module: The imported Python module.
    """

    def __init__(self, name: FlavourName, module: Any) -> None:
        self.name: FlavourName = name
        self.module = module
        self.version: str = module.__version__
        if name == "tensorrt" and _numbers(self.version)[:2] < OLDEST:
            raise BackendError(
                f"TensorRT {self.version} is too old: mixed precision needs {OLDEST[0]}.{OLDEST[1]} or later",
                mend="install JetPack 6.1 or later, or a newer TensorRT",
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """Compute capabilities that it can build for on a machine without that device; empty: for its own only."""
        members = getattr(getattr(self.module, "ComputeCapability", None), "__members__", {})
        return tuple(name.lower() for name in members if re.fullmatch(r"SM[0-9]+", name))

    def create_network(self, builder: Any) -> Any:
        """An empty network whose types are those of the graph and nothing else.

        Raises:
            BackendError: This TensorRT would choose precisions by itself.
        """
        flag = getattr(getattr(self.module, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
        always = self.name == "tensorrt_rtx" or _numbers(self.version)[0] >= 11
        network = builder.create_network(0 if always or flag is None else 1 << int(flag))
        if not always and (flag is None or not network.get_flag(flag)):
            raise BackendError(
                f"{self.name} {self.version} does not make strongly typed networks: it would choose precisions itself",
                mend="use TensorRT 10.3 or later",
            )
        return network

    def create_config(self, builder: Any, *, workspace_bytes: int | None, capabilities: Sequence[str]) -> Any:
        """A builder's configuration.

        Args:
            builder: Of this flavour.
            workspace_bytes: Most device memory that a layer may take beside its tensors; None: the library's choice.
            capabilities: Build for these, which are not here; empty: for the device of this machine.

        Raises:
            InputError: This flavour cannot build for it.
        """
        trt = self.module
        config = builder.create_builder_config()
        # On by default, it rounds the factors of FP32 products to 10 bits: what is called FP32 shall be FP32.
        config.clear_flag(trt.BuilderFlag.TF32)
        # Kept in the engine for the inspector, which reads every layer's types back on the device.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if workspace_bytes is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
        if capabilities:
            config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            self.require_target(capability)
            config.set_compute_capability(getattr(trt.ComputeCapability, capability.upper()), index)
        return config

    def use_timing_cache(self, config: Any, notes: bytes) -> None:
        """Give the builder its notes of an earlier build, so that it times, and chooses, the same again."""
        if self.times_layers:
            cache = config.create_timing_cache(notes) or config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)

    def read_timing_cache(self, config: Any) -> bytes:
        """The builder's notes after a build; empty where it takes none."""
        cache = config.get_timing_cache() if self.times_layers else None
        return b"" if cache is None else bytes(cache.serialize())

    @property
    def times_layers(self) -> bool:
        """Whether a build measures on the device; TensorRT-RTX chooses when the engine first runs."""
        return self.name == "tensorrt"

    def require_target(self, capability: str) -> None:
        """Return if this flavour builds for `capability` on any machine.

        Raises:
            InputError: It does not: says which way leads there.
        """
        if capability not in self.targets:
            raise InputError(
                f"{self.name} {self.version} builds no engine for {capability} on another machine",
                mend=way_to(capability, targets=self.targets),
            )


def way_to(capability: str, *, targets: tuple[str, ...] = RTX_CAPABILITIES) -> str:
    """How an engine for `capability` is made, for messages."""
    known = {"sm87": "a Jetson Orin", "sm90": "an H100 or H200", "sm100": "a B200", "sm110": "a Jetson Thor"}
    if capability in targets:
        return f"install cmc-sdk[rtx] and build with --target {capability}"
    if capability in known:
        return (
            f"that is {known[capability]}: run `cmc engine build` there without --target, with TensorRT 10.3 or later"
        )
    return f"give one of {', '.join(targets) or 'none'}; or build on the device itself, without --target"


def find_flavours() -> tuple[FlavourState, ...]:
    """Which flavours are installed; nothing is imported."""
    return tuple(_state(name) for name in FLAVOURS)


def load_flavour(name: FlavourName) -> Flavour:
    """Import a flavour.

    Raises:
        BackendError: It is not installed, cannot be loaded, or is too old.
    """
    if importlib.util.find_spec(name) is None:
        raise BackendError(f"{name} is not installed", mend=_install(name))
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken native library fails in ways of its own
        raise BackendError(f"{name} is installed but cannot be loaded: {error}", mend=_install(name)) from error
    return Flavour(name, module)


def choose_flavour(*, ahead_of_time: bool, wanted: FlavourName | Literal["auto"] = "auto") -> FlavourName:
    """The flavour that builds.

    Args:
        ahead_of_time: For devices that are not here: only TensorRT-RTX can.
        wanted: A name to insist on one.

    Raises:
        InputError: `tensorrt` was wanted for devices that are not here.
        BackendError: None is installed that could do it.
    """
    if ahead_of_time:
        if wanted == "tensorrt":
            raise InputError(
                "tensorrt builds only for the device that it runs on",
                mend="leave --target out, or use --flavour tensorrt_rtx",
            )
        order: tuple[FlavourName, ...] = ("tensorrt_rtx",)
    else:
        order = FLAVOURS if wanted == "auto" else (wanted,)
    for name in order:
        if importlib.util.find_spec(name) is not None:
            return name
    raise BackendError(f"{' and '.join(order)} not installed: no engine can be built", mend=_install(order[-1]))


def _state(name: FlavourName) -> FlavourState:
    if importlib.util.find_spec(name) is None:
        return FlavourState(name, None, "not installed")
    # JetPack's package carries no metadata that pip would know.
    version = installed_version(name.replace("_", "-")) or "unknown"
    old = name == "tensorrt" and version != "unknown" and _numbers(version)[:2] < OLDEST
    return FlavourState(name, version, f"too old: {OLDEST[0]}.{OLDEST[1]} or later is needed" if old else "")


def _install(name: FlavourName) -> str:
    if name == "tensorrt_rtx":
        return "pip install 'cmc-sdk[rtx]'"
    return "install it with JetPack, or from NVIDIA's own packages (docs/engines.md)"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version))
