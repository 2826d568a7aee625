"""What an ONNX file computes, read without the onnx package: its nodes and the types between them, not its weights.

The wire format is that of `onnx_file`; weights are skipped by their length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cmc_sdk.errors import BundleError

__all__ = ["FLOAT", "HALF", "GraphFacts", "NodeFacts", "read_facts"]

FLOAT, HALF = 1, 10
"""ONNX's numbers for float32 and float16."""

_BOOL, _INT64 = 9, 7
_GIVES_BOOL = frozenset(
    {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "IsNaN", "IsInf"}
)
_GIVES_INT64 = frozenset({"Shape", "Size", "NonZero", "ArgMax", "ArgMin"})
_Field = int | memoryview


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
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise BundleError(f"{name} is not a well-formed ONNX file", mend="export the bundle again") from error


def _model(view: memoryview) -> GraphFacts:
    opsets: dict[str, int] = {}
    graph = memoryview(b"")
    for number, value in _fields(view):
        if number == 7:
            graph = _bytes(value)
        elif number == 8:
            parts = dict(_fields(_bytes(value)))
            opsets[_text(parts.get(1, memoryview(b"")))] = _number(parts.get(2, 0))
    nodes: list[NodeFacts] = []
    types: dict[str, int] = {}
    claimed: dict[str, int] = {}
    ports: dict[int, dict[str, tuple[int | str, ...]]] = {11: {}, 12: {}}
    for number, value in _fields(graph):
        if number == 1:
            nodes.append(_node(_bytes(value)))
        elif number == 5:
            tensor = dict(_fields(_bytes(value)))
            types[_text(tensor.get(8, memoryview(b"")))] = _number(tensor.get(2, 0))
        elif number in ports:
            port, element, shape = _port(_bytes(value))
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
    for number, value in _fields(view):
        if number in texts:
            texts[number].append(_text(value))
        elif number == 5:
            attribute = dict(_fields(_bytes(value)))
            holds_graph |= 6 in attribute or 11 in attribute
            if isinstance(attribute.get(3), int):
                integers[_text(attribute.get(1, memoryview(b"")))] = _number(attribute[3])
    name, op_type, domain = ("".join(texts[number][-1:]) for number in (3, 4, 7))
    return NodeFacts(name, op_type, domain, tuple(texts[1]), tuple(texts[2]), integers, holds_graph)


def _port(view: memoryview) -> tuple[str, int, tuple[int | str, ...]]:
    parts = dict(_fields(view))
    tensor = dict(_fields(_bytes(dict(_fields(_bytes(parts.get(2, memoryview(b""))))).get(1, memoryview(b"")))))
    shape: list[int | str] = []
    for number, value in _fields(_bytes(tensor.get(2, memoryview(b"")))):
        if number == 1:
            axis = dict(_fields(_bytes(value)))
            shape.append(_text(axis[2]) if 2 in axis else _number(axis.get(1, 0)))
    return _text(parts.get(1, memoryview(b""))), _number(tensor.get(1, 0)), tuple(shape)


def _fields(view: memoryview) -> Iterator[tuple[int, _Field]]:
    """(number, value) of a message's fields: an integer, or the bytes of what has a length."""
    position = 0
    while position < len(view):
        key, position = _varint(view, position)
        wire = key & 7
        if wire == 0:
            number, position = _varint(view, position)
            yield key >> 3, number
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        elif wire == 2:
            length, position = _varint(view, position)
            if position + length > len(view):
                raise ValueError("a field is longer than the file")
            yield key >> 3, view[position : position + length]
            position += length
        else:
            raise ValueError("an unknown wire type")
    if position > len(view):
        raise ValueError("a field is longer than the file")


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a number is too long")


def _bytes(value: _Field) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a number stands where a message belongs")
    return value


def _text(value: _Field) -> str:
    return str(_bytes(value), "utf-8")


def _number(value: _Field) -> int:
    if isinstance(value, memoryview):
        raise ValueError("a message stands where a number belongs")
    return value
