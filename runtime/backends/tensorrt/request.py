"""What the child process that builds an engine is told, and what it answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cmc_sdk.bundle.precision import GraphPrecision, Island, Tensor
from cmc_sdk.runtime.backends.tensorrt.build_key import Capability, FlavourName, Profile
from cmc_sdk.strict_model import StrictModel

__all__ = ["BuildAnswer", "BuildRequest"]


class BuildRequest(StrictModel):
    """One graph for one kind of device, or for several.

    Args:
        flavour: Which TensorRT builds.
        capabilities: Of the devices that it is for.
        in_place: Whether that is this machine's device; False: they are elsewhere, and only TensorRT-RTX can.
        path: Of the graph in its bundle, for messages.
        precision: That the manifest states.
        islands: That the manifest states.
        inputs: That the manifest states, the batch first.
        profiles: Optimisation profiles.
        workspace_bytes: Most device memory that a layer may take beside its tensors; None: the library's choice.
        graph_bytes: Length of the ONNX file that follows.
        cache_bytes: Length of the timing cache that follows it.
    """

    flavour: FlavourName
    capabilities: Annotated[tuple[Capability, ...], Field(min_length=1)]
    in_place: bool
    path: str
    precision: GraphPrecision
    islands: tuple[Island, ...]
    inputs: tuple[Tensor, ...]
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1)]
    workspace_bytes: Annotated[int, Field(ge=1)] | None = None
    graph_bytes: int
    cache_bytes: int

    @property
    def targets(self) -> str:
        """The compute capabilities in one word."""
        return "+".join(self.capabilities)


class BuildAnswer(StrictModel):
    """How the build ended.

    Args:
        error: Name of the error's class in `cmc_sdk.errors`; None: an engine of `engine_bytes` follows, then a timing
            cache of `cache_bytes`.
        what: Of the error.
        mend: Of the error.
        half_nodes: ONNX nodes of convolutions and products in FP16.
        half_layers: Layers of the parsed network that compute in FP16.
        float_layers: Layers of the parsed network that compute in FP32.
        inspected: Layers of the engine whose types were read back on the device; None: it is elsewhere.
        peak_bytes: Largest resident memory of the child; None where the system does not say.
    """

    error: str | None = None
    what: str = ""
    mend: str = ""
    half_nodes: tuple[str, ...] = ()
    half_layers: int = 0
    float_layers: int = 0
    inspected: int | None = None
    peak_bytes: int | None = None
    engine_bytes: int = 0
    cache_bytes: int = 0
