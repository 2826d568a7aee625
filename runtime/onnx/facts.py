"""What an ONNX file computes, read without the onnx package: its nodes and the types between them, not its weights.

Field numbers are those of onnx.proto; weights are skipped by their length.
"""

from __future__ import annotations

from dataclasses import dataclass

from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.onnx.wire import NOTHING, WireError, as_message, as_number, as_text, fields_of

__all__ = ["FLOAT", "HALF", "GraphFacts", "NodeFacts", "read_facts"]

FLOAT, HALF = 1, 10
"""ONNX's numbers for float32 and float16."""

_BOOL, _INT64 = 9, 7
_GIVES_BOOL = frozenset(
    {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "IsNaN", "IsInf"}
)
_GIVES_INT64 = frozenset({"Shape", "Size", "NonZero", "ArgMax", "ArgMin"})


@dataclass(frozen=True)
class NodeFacts:
    """One node: its name and op, what it takes and gives, and the attributes that are integers or graphs."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: dict[str, int]
    holds_graph: bool


@dataclass(frozen=True)
class GraphFacts:
    """A graph without its weights' values.

    Args:
        opsets: Version by domain.
        nodes: In the file's order.
        types: ONNX's number of the element type of every input, weight and computed tensor that could be followed.
        inputs: Axes of each input by name: a number, or the name of a dynamic axis.
        outputs: The same of the outputs.
    """

    opsets: dict[str, int]
    nodes: tuple[NodeFacts, ...]
    types: dict[str, int]
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]


def read_facts(data: bytes, *, name: str) -> GraphFacts:
    """Read a file's graph; types of computed tensors follow from the ops, not from what the file claims of them.

    Args:
        data: The file's content.
        name: For messages.

    Raises:
        BundleError: Not a well-formed ONNX file.
    """
    try:
        return _model(memoryview(data))
    except WireError as error:
        raise BundleError(f"{name} is not a well-formed ONNX file", mend="export the bundle again") from error


def _model(view: memoryview) -> GraphFacts:
    opsets: dict[str, int] = {}
    graph = NOTHING
    for number, value in fields_of(view):
        if number == 7:
            graph = as_message(value)
        elif number == 8:
            parts = dict(fields_of(as_message(value)))
            opsets[as_text(parts.get(1, NOTHING))] = as_number(parts.get(2, 0))
    nodes: list[NodeFacts] = []
    types: dict[str, int] = {}
    claimed: dict[str, int] = {}
    ports: dict[int, dict[str, tuple[int | str, ...]]] = {11: {}, 12: {}}
    for number, value in fields_of(graph):
        if number == 1:
            nodes.append(_node(as_message(value)))
        elif number == 5:
            tensor = dict(fields_of(as_message(value)))
            types[as_text(tensor.get(8, NOTHING))] = as_number(tensor.get(2, 0))
        elif number in ports:
            port, element, shape = _port(as_message(value))
            ports[number][port] = shape
            (types if number == 11 else claimed)[port] = element
    for node in nodes:
        if (given := _given(node, types)) is not None:
            types.update(dict.fromkeys(node.outputs, given))
    for port, claim in claimed.items():
        types.setdefault(port, claim)
    return GraphFacts(opsets, tuple(nodes), types, ports[11], ports[12])


def _given(node: NodeFacts, types: dict[str, int]) -> int | None:
    """The type that a node gives: in a strongly typed graph that of what it takes."""
    if node.op_type == "Cast":
        return node.integers.get("to")
    if node.op_type in _GIVES_BOOL:
        return _BOOL
    if node.op_type in _GIVES_INT64:
        return _INT64
    taken = node.inputs[1:2] if node.op_type == "Where" else node.inputs[:1]
    return types.get(taken[0]) if taken else None


def _node(view: memoryview) -> NodeFacts:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: [], 7: []}
    integers: dict[str, int] = {}
    holds_graph = False
    for number, value in fields_of(view):
        if number in texts:
            texts[number].append(as_text(value))
        elif number == 5:
            attribute = dict(fields_of(as_message(value)))
            holds_graph |= 6 in attribute or 11 in attribute
            if isinstance(attribute.get(3), int):
                integers[as_text(attribute.get(1, NOTHING))] = as_number(attribute[3])
    name, op_type, domain = ("".join(texts[number][-1:]) for number in (3, 4, 7))
    return NodeFacts(name, op_type, domain, tuple(texts[1]), tuple(texts[2]), integers, holds_graph)


def _port(view: memoryview) -> tuple[str, int, tuple[int | str, ...]]:
    parts = dict(fields_of(view))
    tensor = dict(fields_of(as_message(dict(fields_of(as_message(parts.get(2, NOTHING)))).get(1, NOTHING))))
    shape: list[int | str] = []
    for number, value in fields_of(as_message(tensor.get(2, NOTHING))):
        if number == 1:
            axis = dict(fields_of(as_message(value)))
            shape.append(as_text(axis[2]) if 2 in axis else as_number(axis.get(1, 0)))
    return as_text(parts.get(1, NOTHING)), as_number(tensor.get(1, 0)), tuple(shape)
