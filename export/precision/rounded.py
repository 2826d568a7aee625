"""An FP16 graph as a CPU must be made to compute it: in FP32, with every FP16 tensor rounded to FP16.

ONNX Runtime has few FP16 kernels for the CPU. It computes an FP16 graph in FP32 and drops the casts between neighbours,
so that a value of 90,000 between two FP16 nodes lives on, where an accelerator would make it infinite. A cast there and
back that stands in the graph itself it leaves alone: here every node is an FP32 node, and every FP16 tensor is so cast.
Sums inside a node are FP32, as accelerators keep them in a strongly typed graph.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from cmc_sdk.export.precision.view import MOVEMENT, GraphView

__all__ = ["to_rounded"]

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def to_rounded(model: onnx.ModelProto, *, name: str) -> onnx.ModelProto:
    """The graph in FP32 that gives what the mixed graph gives where FP16 is really FP16.

    Args:
        model: From `to_mixed`; not changed.
        name: For messages.
    """
    view = GraphView(model, name=name)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    for kept in (rounded.graph.node, rounded.graph.value_info):
        del kept[:]
    for tensor in rounded.graph.initializer:
        if tensor.data_type == _HALF:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))
    for node in view.nodes.values():
        new = rounded.graph.node.add()
        new.CopyFrom(node)
        if node.op_type == "Cast" and {view.types[node.input[0]], view.types[node.output[0]]} == {_FLOAT, _HALF}:
            new.op_type = "Identity"
            del new.attribute[:]
        elif node.op_type == "Cast":
            for attribute in new.attribute:
                if attribute.name == "to" and attribute.i == _HALF:
                    attribute.i = _FLOAT
        if node.op_type in MOVEMENT:
            continue  # its input is rounded already
        for index, value in enumerate(node.output):
            if view.types.get(value) == _HALF:
                new.output[index] = f"{value}_exact"
                rounded.graph.node.append(helper.make_node("Cast", [f"{value}_exact"], [f"{value}_bits"], to=_HALF))
                rounded.graph.node.append(helper.make_node("Cast", [f"{value}_bits"], [value], to=_FLOAT))
    return rounded
