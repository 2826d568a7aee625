"""Reading just enough of an ONNX file to refuse one that points outside itself.

Weights are skipped by their length. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.onnx.wire import WireError, fields_of

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
    except WireError as error:
        raise BundleError(f"{name} is not a well-formed ONNX file", mend="export the bundle again") from error


def _walk(view: memoryview, kind: str, depth: int, name: str) -> None:
    if depth > _MAX_DEPTH:
        raise WireError("nested too deep")
    for number, value in fields_of(view):
        if isinstance(value, int):
            external = kind == "tensor" and number == _DATA_LOCATION and value != 0
        else:
            external = kind == "tensor" and number == _EXTERNAL_DATA
            external |= kind == "node" and number == _OP_TYPE and value == _ENGINE
            if number in _PATHS[kind]:
                _walk(value, _PATHS[kind][number], depth + 1, name)
        if external:
            raise BundleError(
                f"{name} keeps weights or an engine in another file",
                mend="export the bundle again, with weights embedded",
            )
