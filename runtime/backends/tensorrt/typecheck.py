"""What a network computes in, layer by layer, held against what the manifest says of its graph.

A builder that is given an FP32 graph under the name fp16 gives an FP32 engine, three times slower, and says nothing.
So the types of the parsed network are compared before anything is built, and those of the engine after, where a device
is there to read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cmc_sdk.bundle.precision import GraphPrecision, Island
from cmc_sdk.errors import BackendError, BundleError

__all__ = ["LayerTypes", "TypeReport", "check_engine", "check_network", "read_network"]

FLOATS = frozenset({"FLOAT", "HALF", "BF16", "FP8", "FP4", "INT8", "INT4"})
"""Types that hold values of the network; the others hold shapes, indices and truth values."""

COMPUTING = frozenset({"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM"})
"""Kinds of layers that take the time."""

_MOVING = frozenset({"CONSTANT", "CAST", "IDENTITY", "SHUFFLE", "SLICE", "GATHER", "SQUEEZE", "UNSQUEEZE"})
"""Kinds of layers that move values and compute nothing: they may stand before either type, and cast between them."""

_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_HALF, _SINGLE = re.compile(r"\b(?:FP16|Half)\b", re.IGNORECASE), re.compile(r"\b(?:FP32|Float)\b", re.IGNORECASE)


@dataclass(frozen=True)
class LayerTypes:
    """One layer of a parsed network.

    Args:
        name: In the network.
        nodes: The ONNX nodes that it comes from; none where the parser put it in between.
        kind: Its type in TensorRT's word, such as CONVOLUTION.
        inputs: Types of its inputs, such as HALF.
        outputs: Types of its outputs.
    """

    name: str
    nodes: tuple[str, ...]
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def floats(self) -> frozenset[str]:
        """The value types among its inputs and outputs."""
        return FLOATS & {*self.inputs, *self.outputs}


@dataclass(frozen=True)
class TypeReport:
    """What `check_network` found where it found no fault.

    Args:
        half: Layers that compute in FP16.
        single: Layers that compute in FP32.
        half_nodes: ONNX nodes of the layers among `half` that take the time, for `check_engine`.
    """

    half: int
    single: int
    half_nodes: frozenset[str]


def read_network(network: Any) -> list[LayerTypes]:
    """The layers of a parsed network of any flavour."""
    return [_read_layer(network.get_layer(index)) for index in range(network.num_layers)]


def check_network(
    layers: Sequence[LayerTypes], *, precision: GraphPrecision, islands: Sequence[Island], path: str
) -> TypeReport:
    """Hold every layer's types against the manifest, before anything is built.

    f32: no layer has a type narrower than FP32. fp16: layers of the islands are in FP32, all others in FP16. Layers
    that only move values, and those that give shapes or truth values, may have either.

    Args:
        layers: As `read_network` gave them.
        precision: That the manifest states for the graph.
        islands: That the manifest states for the graph.
        path: Of the graph, for messages.

    Raises:
        BundleError: Names the first layer, its node and the types that it has and should have.
    """
    if precision == "int8-openvino":
        raise BundleError(
            f"{path} is int8 for OpenVINO; no engine can be built of it", mend="use its f32 or fp16 graph"
        )
    kinds = {node: island.kind for island in islands for node in island.nodes}
    found: set[str] = set()
    half: list[LayerTypes] = []
    single = 0
    wrong: list[str] = []
    for layer in layers:
        inside = [node for node in layer.nodes if node in kinds]
        found.update(inside)
        if layer.kind in _MOVING or not layer.nodes or not FLOATS & set(layer.outputs):
            continue
        wanted = "FLOAT" if precision == "f32" or inside else "HALF"
        if layer.floats != {wanted}:
            place = f"in the island {kinds[inside[0]]}" if inside else "outside the islands" if islands else ""
            wrong.append(f"{_words(layer)} {place} is {'/'.join(sorted(layer.floats))}, not {wanted}")
        elif wanted == "HALF":
            half.append(layer)
        else:
            single += 1
    _refuse(wrong, half=half, precision=precision, layers=layers, path=path)
    for island in islands:
        if not found & set(island.nodes):
            raise BundleError(
                f"{path}: the manifest's island {island.kind} has none of its {len(island.nodes)} nodes in the graph",
                mend="export the bundle again",
            )
    half_nodes = frozenset(node for layer in half if layer.kind in COMPUTING for node in layer.nodes)
    return TypeReport(half=len(half), single=single, half_nodes=half_nodes)


def check_engine(information: str, *, precision: GraphPrecision, half_nodes: Iterable[str], path: str) -> int:
    """Read the types of a built engine's layers back, on the device. Not run on a device yet.

    Where TensorRT melts many nodes into one layer (`ForeignNode`), it shows only that layer's border, which is FP32 in
    every precision: such a layer proves nothing and is not counted. All of an engine of TensorRT-RTX is one of them.

    Args:
        information: What the engine's inspector says, as JSON.
        precision: That the engine was built for.
        half_nodes: ONNX nodes that must have stayed in FP16.
        path: Of the graph, for messages.

    Returns:
        Layers that were compared.

    Raises:
        BackendError: A layer computes in FP32 what the graph has in FP16, or the other way round; or the inspector
            does not say.
    """
    try:
        described = [layer for layer in json.loads(information)["Layers"] if isinstance(layer, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(path) from error
    if not described:  # without detailed profiling it lists names only
        raise _unreadable(path)
    wanted, compared = set(half_nodes), 0
    for layer in described:
        if "ForeignNode" in str(layer.get("Name", "")):
            continue
        tensors = [*layer.get("Inputs", []), *layer.get("Outputs", [])]
        types = " ".join(str(item.get("Format/Datatype", "")) for item in tensors)
        nodes = set(_NODE.findall(str(layer.get("Metadata", ""))))
        is_half, is_single = bool(_HALF.search(types)), bool(_SINGLE.search(types))
        if precision == "f32" and is_half:
            raise _wrong_engine(path, layer, "FP16", "FP32")
        if precision == "fp16" and nodes & wanted and is_single and not is_half:
            raise _wrong_engine(path, layer, "FP32", "FP16")
        compared += bool(types) and (precision == "f32" or bool(nodes & wanted))
    return compared


def _read_layer(layer: Any) -> LayerTypes:
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    nodes = _NODE.findall(str(layer.metadata or ""))
    return LayerTypes(
        name=layer.name,
        nodes=tuple(nodes),
        kind=layer.type.name,
        inputs=tuple(tensor.dtype.name for tensor in inputs if tensor is not None),
        outputs=tuple(tensor.dtype.name for tensor in outputs if tensor is not None),
    )


def _refuse(
    wrong: Sequence[str],
    *,
    half: Sequence[LayerTypes],
    precision: GraphPrecision,
    layers: Sequence[LayerTypes],
    path: str,
) -> None:
    computing = [layer for layer in layers if layer.kind in COMPUTING]
    if precision == "fp16" and computing and not any(layer.kind in COMPUTING for layer in half):
        raise BundleError(
            f"{path} is called fp16, but none of its {len(computing)} convolutions and products is in FP16: "
            "an engine of it would be FP32",
            mend="export the bundle again with --fp16",
        )
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise BundleError(f"{path} is called {precision}, but {wrong[0]}{more}", mend="export the bundle again")


def _words(layer: LayerTypes) -> str:
    return f"the {layer.kind.lower().replace('_', ' ')} {layer.nodes[0]!r}"


def _unreadable(path: str) -> BackendError:
    return BackendError(
        f"the engine of {path} does not say what its layers compute in", mend="build it again with this cmc-sdk"
    )


def _wrong_engine(path: str, layer: dict[str, Any], found: str, wanted: str) -> BackendError:
    return BackendError(
        f"the engine of {path} computes {layer.get('Name')!r} in {found}, the graph has it in {wanted}",
        mend="build it again; if it stays so, report the TensorRT version and use the other precision",
    )
