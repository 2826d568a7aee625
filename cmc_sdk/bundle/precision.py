"""Precisions, the graphs that hold them, and what parity each must keep."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from cmc_sdk.strict_model import StrictModel

__all__ = ["DEFAULT_LIMITS", "GRAPHS_OF", "GateLimits", "GatePass", "GraphPrecision", "Island", "Precision", "Tensor"]

Precision = Literal["f32", "fp16", "bf16", "int8"]
"""What a backend computes in."""

GraphPrecision = Literal["f32", "fp16", "int8-openvino"]
"""What is written into a graph, and the name of its folder under `graphs/`."""

GRAPHS_OF: Mapping[Precision, GraphPrecision] = MappingProxyType(
    {"f32": "f32", "bf16": "f32", "fp16": "fp16", "int8": "int8-openvino"}
)
"""The graphs that a precision is computed from: bf16 is a choice of the library, not of the graph."""


class Tensor(StrictModel):
    """One input or output of a graph; None stands for the dynamic batch."""

    name: str
    dtype: Literal["float32", "float16"]
    shape: tuple[int | None, ...]


class Island(StrictModel):
    """A part of a mixed-precision graph that stays in FP32, and what was measured without it.

    Args:
        kind: Which of the network's delicate parts it is.
        nodes: Names of its nodes in the graph.
        reason: Why it stays, in words, with the figure.
        difference: Largest relative difference of the graph's outputs on the calibration windows if it were FP16;
            None: not finite.
    """

    kind: Literal["padded_logsumexp", "attention_softmax", "mia_correlation", "normalisation", "logits"]
    nodes: tuple[str, ...]
    reason: str
    difference: float | None


class GateLimits(StrictModel):
    """What parity must keep.

    Args:
        min_dice: Dice of each class at least.
        max_flips: Voxels whose labels differ, at most, as a share of the foreground.
        small_class_vox: A class with fewer voxels is held to its count of flips instead of its Dice.
        small_class_flips: That count, as a share of the class's voxels; two voxels are always allowed.
    """

    min_dice: Annotated[float, Field(ge=0.0, le=1.0)] = 0.999
    max_flips: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0001
    small_class_vox: Annotated[int, Field(ge=0)] = 1000
    small_class_flips: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01


DEFAULT_LIMITS: Mapping[Precision, GateLimits] = MappingProxyType(
    {
        "f32": GateLimits(),
        "fp16": GateLimits(min_dice=0.995, max_flips=0.001),
        "bf16": GateLimits(min_dice=0.99, max_flips=0.01),
        "int8": GateLimits(min_dice=0.99, max_flips=0.01),
    }
)
"""What an export asks for unless its caller gives limits; those of f32 also stand for what a manifest leaves out.

Every check holds a bundle to the limits of its own manifest, never to these.
"""


class GatePass(StrictModel):
    """A backend in a precision that kept its limits when the bundle was made.

    Every backend may be named: one that a reader does not have is one that it does not choose.
    """

    backend: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    precision: Precision
