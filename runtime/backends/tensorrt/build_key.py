"""What an engine was built from, and the device that it was proved on: a difference is never overlooked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from cmc_sdk.bundle.precision import GraphPrecision
from cmc_sdk.strict_model import StrictModel

__all__ = ["RULES", "BuildKey", "Capability", "DeviceKey", "FlavourName", "Profile", "batch_profiles", "differences"]

FlavourName = Literal["tensorrt", "tensorrt_rtx"]
Capability = Annotated[str, Field(pattern=r"^sm[0-9]{2,3}$")]
"""A compute capability as NVIDIA's compiler writes it: `sm86` is 8.6."""

RULES: Literal[1] = 1
"""Raised when the builder's own settings change what an engine computes, so that older engines are built again."""


class Profile(StrictModel):
    """One optimisation profile: windows at once, at least, best and at most."""

    least: Annotated[int, Field(ge=1)]
    best: Annotated[int, Field(ge=1)]
    most: Annotated[int, Field(ge=1)]


class BuildKey(StrictModel):
    """All that decides what an engine is; any difference means another engine.

    Args:
        flavour: Which TensorRT.
        version: Of it, all digits: plans do not travel between versions.
        capabilities: Compute capabilities that it was built for, lowest first; TensorRT-RTX serves several at once.
        graph_sha256: Of the ONNX file, as the manifest lists it.
        precision: What is written into that graph.
        profiles: Optimisation profiles, in their order in the engine.
        rules: `RULES` of the builder.
    """

    flavour: FlavourName
    version: str
    capabilities: Annotated[tuple[Capability, ...], Field(min_length=1)]
    graph_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    precision: GraphPrecision
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1)]
    rules: int = RULES

    @property
    def digest(self) -> str:
        """The key as 64 hex digits: the engine's name in the state folder."""
        return _digest("cmc-engine-key-v1", self)

    @property
    def targets(self) -> str:
        """The compute capabilities in one word: `sm86+sm89`."""
        return "+".join(self.capabilities)

    def covers(self, wanted: BuildKey) -> bool:
        """Whether an engine of this key is one of `wanted`: all is equal, and no device of it is missing."""
        alike = self.model_copy(update={"capabilities": wanted.capabilities}) == wanted
        return alike and set(wanted.capabilities) <= set(self.capabilities)


class DeviceKey(StrictModel):
    """The device that a bundle was verified on; any difference means that `cmc verify` must pass again.

    Args:
        gpu: Its name, as the driver says it.
        capability: Its compute capability.
        driver: Version of the driver; on a Jetson that of the L4T release that it comes with.
        os: System, distribution with its version, and machine. The kernel's number is left out: security updates
            change it every week, and no engine depends on it.
    """

    gpu: str
    capability: Capability
    driver: str
    os: str

    @property
    def digest(self) -> str:
        """The key as 64 hex digits."""
        return _digest("cmc-device-key-v1", self)


def differences(wanted: StrictModel, found: StrictModel) -> list[str]:
    """The fields in which two keys of one kind differ, in words: `version 10.3.0.30 is now 10.7.0.23`."""
    now, then = wanted.model_dump(mode="json"), found.model_dump(mode="json")
    return [
        f"{name} {_short(then.get(name))} is now {_short(now[name])}" for name in now if now[name] != then.get(name)
    ]


def batch_profiles(batches: Sequence[int], *, flavour: FlavourName) -> tuple[Profile, ...]:
    """Profiles for every number of windows up to the planner's largest batch.

    `tensorrt` times kernels for the best size of a profile: it gets one for each of the planner's sizes, which also
    takes the smaller rest of a case. `tensorrt_rtx` chooses kernels for the size at hand when the engine runs: one
    profile serves all, and is built three times faster than three.
    """
    sizes = sorted(set(batches))
    if flavour == "tensorrt_rtx":
        return (Profile(least=1, best=sizes[0], most=sizes[-1]),)
    return tuple(
        Profile(least=below + 1, best=size, most=size) for below, size in zip([0, *sizes], sizes, strict=False)
    )


def _short(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "+".join(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _digest(domain: str, key: StrictModel) -> str:
    text = json.dumps(key.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{domain}\0{text}".encode()).hexdigest()
