"""A graph that keeps weights outside itself is refused, and a damaged file has a name."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.onnx.external import refuse_external_data

onnx = pytest.importorskip("onnx")


def model(*, nested: bool = False):
    """x + weight; the weight an initializer, or a constant within the branches of an If."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weight = numpy_helper.from_array(np.arange(64, dtype=np.float32), "weight")
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [64])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [64])
    if not nested:
        add = helper.make_node("Add", ["x", "weight"], ["y"])
        return helper.make_model(helper.make_graph([add], "g", [x], [y], [weight]))
    condition = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    constant = helper.make_node("Constant", [], ["w"], value=weight)
    branch = helper.make_graph([constant, helper.make_node("Add", ["x", "w"], ["y"])], "b", [], [y])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return helper.make_model(helper.make_graph([choice], "g", [condition, x], [y]))


def point_outside(tensor) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


@pytest.mark.parametrize("nested", [False, True])
def test_embedded_weights_pass(nested):
    refuse_external_data(model(nested=nested).SerializeToString(), name="g.onnx")


def test_an_initializer_in_another_file_is_refused():
    found = model()
    point_outside(found.graph.initializer[0])
    with pytest.raises(BundleError, match=r"g\.onnx keeps weights or an engine in another file"):
        refuse_external_data(found.SerializeToString(), name="g.onnx")


def test_a_location_alone_is_refused():
    found = model()
    entry = found.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "weights.data"
    with pytest.raises(BundleError, match="another file"):
        refuse_external_data(found.SerializeToString(), name="g.onnx")


def test_a_constant_in_a_branch_is_seen():
    found = model(nested=True)
    point_outside(found.graph.node[0].attribute[1].g.node[0].attribute[0].t)
    with pytest.raises(BundleError, match="another file"):
        refuse_external_data(found.SerializeToString(), name="g.onnx")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_has_a_name(share):
    data = model().SerializeToString()
    with pytest.raises(BundleError, match=r"g\.onnx is not a well-formed ONNX file"):
        refuse_external_data(data[: int(len(data) * share)], name="g.onnx")


def test_endless_nesting_is_refused():
    data = b""
    for _ in range(100):  # graph in attribute in node in graph …
        for number in (6, 5, 1):
            data = bytes([number << 3 | 2]) + _varint(len(data)) + data
    with pytest.raises(BundleError, match="well-formed"):
        refuse_external_data(bytes([7 << 3 | 2]) + _varint(len(data)) + data, name="g.onnx")


def _varint(value: int) -> bytes:
    out = []
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
