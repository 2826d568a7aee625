"""The static checks of a bundle's graphs: what can be refused without running anything. Needs no onnx package."""

from __future__ import annotations

from collections.abc import Iterator

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.onnx.external import refuse_external_data
from cmc_sdk.runtime.onnx.facts import FLOAT, HALF, GraphFacts, NodeFacts, read_facts
from cmc_sdk.runtime.onnx.opset import opset_fault

__all__ = ["check_graph_file"]

_EITHER = frozenset(
    {
        "Cast",
        "Reshape",
        "Transpose",
        "Slice",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Identity",
        "Expand",
        "Gather",
        "Split",
    }
)
"""Ops that change no value: they may be of either type in any graph."""

_NAMES = {FLOAT: "FP32", HALF: "FP16"}


def check_graph_file(data: bytes, *, graph: Graph) -> None:
    """Refuse a graph that is not what its bundle says of it.

    What is checked: weights within the file; an opset of `OPSETS`; no BatchNormalization, nothing in
    training mode, no Attention op, no graph within the graph; inputs and outputs those of the manifest, FP32, with a
    dynamic batch; in `f32` nothing FP16; in `fp16` every declared island there and in FP32, everything else in FP16,
    and one type in each node.

    Args:
        data: The ONNX file's verified bytes.
        graph: What the manifest says of it.

    Raises:
        BundleError: The first rule that is broken, with the node.
    """
    refuse_external_data(data, name=graph.path)
    facts = read_facts(data, name=graph.path)
    for fault in (*_structure(facts), *_ports(facts, graph), *_types(facts, graph)):
        raise BundleError(f"{graph.path}: {fault}", mend="export the bundle again")


def _structure(facts: GraphFacts) -> Iterator[str]:
    opset = facts.opsets.get("", facts.opsets.get("ai.onnx"))
    if (fault := opset_fault(opset)) is not None:
        yield fault
    for node in facts.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield f"op {node.domain}.{node.op_type} is not standard ONNX"
        if node.op_type == "BatchNormalization":
            yield f"BatchNormalization {node.name} makes a label depend on its batch-mates, or on another hospital's"
        if node.op_type == "Attention":
            yield f"Attention {node.name} is an op that engines refuse"
        if node.integers.get("training_mode") or (node.op_type == "Dropout" and len(node.inputs) > 2):
            yield f"{node.op_type} {node.name} is in training mode"
        if node.holds_graph:
            yield f"{node.op_type} {node.name} holds a graph of its own"


def _ports(facts: GraphFacts, graph: Graph) -> Iterator[str]:
    for what, found, listed in (("input", facts.inputs, graph.inputs), ("output", facts.outputs, graph.outputs)):
        if set(found) != {port.name for port in listed}:
            yield f"its {what}s are {', '.join(found)}, the manifest lists {', '.join(port.name for port in listed)}"
        for port in listed:
            axes = found.get(port.name, ())
            if facts.types.get(port.name) != FLOAT:
                yield f"{what} {port.name} is not FP32"
            if not axes or not isinstance(axes[0], str):
                yield f"the batch of {what} {port.name} is not dynamic"
            if tuple(None if isinstance(axis, str) else axis for axis in axes) != port.shape:
                yield f"{what} {port.name} has shape {axes}, the manifest says {port.shape}"


def _types(facts: GraphFacts, graph: Graph) -> Iterator[str]:
    nodes = {node.name: node for node in facts.nodes}
    declared = {name: island.kind for island in graph.islands for name in island.nodes}
    for name, kind in declared.items():
        if name not in nodes:
            yield f"the FP32 island {kind} is declared, and its node {name} is missing"
    computed = 0
    for node in facts.nodes:
        taken, given = _floats(node.inputs, facts), _floats(node.outputs, facts)
        if len(taken) > 1:
            yield f"{node.op_type} {node.name} takes FP32 and FP16 at once"
        if graph.precision == "f32":
            if HALF in taken | given:
                yield f"{node.op_type} {node.name} is FP16 under the name f32"
            continue
        if node.name in declared:
            if HALF in taken | given:
                yield f"{node.op_type} {node.name} of the FP32 island {declared[node.name]} is FP16"
        elif _computes(node) and FLOAT in given:
            yield f"{node.op_type} {node.name} is FP32 under the name {graph.precision}"
        computed += _computes(node) and HALF in given
    if graph.precision == "fp16" and not computed:
        yield "nothing is computed in FP16 under the name fp16"


def _computes(node: NodeFacts) -> bool:
    return node.op_type not in _EITHER


def _floats(values: tuple[str, ...], facts: GraphFacts) -> set[int]:
    return {facts.types[value] for value in values if facts.types.get(value) in _NAMES}
