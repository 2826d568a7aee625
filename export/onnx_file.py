"""What an ONNX file of a bundle must be, checked on the very bytes that are shipped."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable

import onnx
import torch

from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.onnx.opset import OPSET, opset_fault

__all__ = ["MAX_BYTES", "inspect_graph", "normalisations", "tidy_graph"]

MAX_BYTES = 2**31 - 1
"""Protobuf's limit for one message, weights included."""

Described = onnx.ModelProto | onnx.GraphProto | onnx.NodeProto | onnx.TensorProto | onnx.ValueInfoProto
"""What carries notes."""

_AS_ONE_OP = {
    "aten.layer_norm.default": "LayerNormalization",
    "aten.group_norm.default": "InstanceNormalization",
}
_BATCH_STATISTICS = ("aten.batch_norm", "aten.native_batch_norm", "aten._native_batch_norm", "aten.cudnn_batch_norm")


def normalisations(program: torch.export.ExportedProgram) -> dict[str, int]:
    """How many LayerNormalization and InstanceNormalization ops a traced network must become.

    A group normalisation becomes an InstanceNormalization over its groups; an instance normalisation is written in
    stages instead (`translations`).

    Raises:
        BundleError: The network holds a batch normalisation, whose result would depend on the batch-mates.
    """
    counts: Counter[str] = Counter({"LayerNormalization": 0, "InstanceNormalization": 0})
    for node in program.graph.nodes:
        target = str(node.target)
        if target.startswith(_BATCH_STATISTICS):
            raise BundleError(
                f"the network holds {target}: batch statistics make a label depend on its batch-mates",
                mend="use InstanceNorm, GroupNorm or LayerNorm",
            )
        if target in _AS_ONE_OP:
            counts[_AS_ONE_OP[target]] += 1
    return dict(counts)


def tidy_graph(model: onnx.ModelProto, *, name: str, expected: dict[str, int]) -> bytes:
    """Name the batch N and nodes by their module, drop inputs without influence and the tracer's notes, and serialise.

    The notes hold paths of the machine.

    Args:
        model: As the exporter made it; changed in place.
        name: For messages.
        expected: Number of ops by type that must stand in the graph, from `normalisations`.

    Raises:
        BundleError: A normalisation was decomposed, or the file would be 2 GB or more.
    """
    written = Counter(node.op_type for node in model.graph.node)
    for op_type, count in expected.items():
        if written[op_type] != count:
            raise BundleError(
                f"{name}: {written[op_type]} {op_type} ops were written where the network has {count}",
                mend="use torch.nn's normalisation modules and the pinned torch and onnxscript",
            )
    used = {value for node in model.graph.node for value in node.input} | {value.name for value in model.graph.output}
    kept = [value for value in model.graph.input if value.name in used]
    batch = {dim.dim_param for value in kept for dim in value.type.tensor_type.shape.dim[:1]}
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param in batch:
                dim.dim_param = "N"
        _forget(value)
    for node in model.graph.node:
        node.name = _scoped_name(node)
        _forget(node)
    for tensor in model.graph.initializer:
        _forget(tensor)
    _forget(model.graph)
    _forget(model)
    model.graph.name = name.rpartition("/")[2].removesuffix(".onnx")
    if (size := model.ByteSize()) > MAX_BYTES:
        raise BundleError(
            f"{name}: {size / 1e9:.2f} GB with its weights, and one ONNX file holds at most 2.14 GB",
            mend="choose a smaller preset",
        )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _scoped_name(node: onnx.NodeProto) -> str:
    """`encoders.0.blocks.1.attn/softmax`: the module that a node comes from, so that every message can say where."""
    scopes = next((item.value for item in node.metadata_props if item.key == "pkg.torch.onnx.name_scopes"), "[]")
    modules = [part for part in ast.literal_eval(scopes)[:-1] if part]
    module = modules[-1].removeprefix("network.") if modules else ""
    name = node.name.removeprefix("node_")
    return f"{module}/{name}" if module else name


def _forget(message: Described) -> None:
    """Drop the tracer's notes."""
    message.doc_string = ""
    del message.metadata_props[:]


def inspect_graph(
    content: bytes, *, name: str
) -> tuple[dict[str, tuple[int | None, ...]], dict[str, tuple[int | None, ...]]]:
    """Check one graph's bytes against the rules of a bundle; return the shapes of its inputs and outputs.

    The rules: it passes ONNX's full checker; weights embedded, none by reference; an opset of `OPSETS`, ops of
    the standard domain only; no BatchNormalization and nothing in training mode; every input and output float32.

    Returns:
        Shapes by name for inputs and for outputs; None stands for the dynamic batch.

    Raises:
        BundleError: A rule is broken; the message names it.
    """
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises its own kinds, by version
        raise BundleError(f"{name} is not an ONNX file: {error}", mend="export again") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise BundleError(f"{name}: its weights lie in another file", mend="embed them: export again")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if (fault := opset_fault(versions.get(""))) is not None:
        raise BundleError(f"{name}: {fault}", mend=f"export with opset {OPSET}")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise BundleError(f"{name}: op {node.domain}.{node.op_type} is not standard ONNX", mend="export again")
        if node.op_type == "BatchNormalization" or (node.op_type == "Dropout" and len(node.input) > 2):
            raise BundleError(f"{name}: {node.op_type} has no place in inference", mend="export in eval mode")
    try:
        onnx.checker.check_model(content, full_check=True)
    except onnx.checker.ValidationError as error:
        raise BundleError(f"{name} fails ONNX's checker: {error}", mend="export again") from error
    return _shapes(model.graph.input, name=name), _shapes(model.graph.output, name=name)


def _shapes(values: Iterable[onnx.ValueInfoProto], *, name: str) -> dict[str, tuple[int | None, ...]]:
    shapes: dict[str, tuple[int | None, ...]] = {}
    for value in values:
        tensor = value.type.tensor_type
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            raise BundleError(f"{name}: {value.name} is not float32", mend="export again")
        shapes[value.name] = tuple(None if dim.dim_param else dim.dim_value for dim in tensor.shape.dim)
    return shapes
