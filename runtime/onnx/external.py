"""Reading just enough of an ONNX file to refuse one that points outside itself.

The wire format of protocol buffers is a list of (field number, wire type, value); weights are skipped by their length,
so a graph of hundreds of megabytes is read in microseconds. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from cmc_sdk.errors import BundleError

__all__ = ["refuse_external_data"]

# Which fields of each message lead to a tensor, and to which message each leads.
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
# A node that stands for a compiled engine, usually one in a file whose path it gives; some libraries load it.
_OP_TYPE, _ENGINE = 4, b"EPContext"
_MAX_DEPTH = 32


def refuse_external_data(data: bytes, *, name: str) -> None:
    """Raise unless all weights of an ONNX model lie within `data`.

    Args:
        data: The file's content.
        name: What to call it in messages.

    Raises:
        BundleError: A tensor or an engine lies in another file, or the content is not a well-formed ONNX model.
    """
    try:
        _walk(memoryview(data), "model", 0, name)
    except (IndexError, ValueError) as error:
        raise BundleError(f"{name} is not a well-formed ONNX file", mend="export the bundle again") from error


def _walk(view: memoryview, kind: str, depth: int, name: str) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    position = 0
    while position < len(view):
        key, position = _varint(view, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(view, position)
            external = kind == "tensor" and number == _DATA_LOCATION and value != 0
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
            external = False
        elif wire == 2:
            length, position = _varint(view, position)
            end = position + length
            if end > len(view):
                raise ValueError("a field is longer than the file")
            external = kind == "tensor" and number == _EXTERNAL_DATA
            external |= kind == "node" and number == _OP_TYPE and view[position:end] == _ENGINE
            if number in _PATHS[kind]:
                _walk(view[position:end], _PATHS[kind][number], depth + 1, name)
            position = end
        else:
            raise ValueError("unknown wire type")
        if external:
            raise BundleError(
                f"{name} keeps weights or an engine in another file",
                mend="export the bundle again, with weights embedded",
            )
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
