"""Every rule of an ONNX file in a bundle, broken one at a time; single-op normalisations; stable translations."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from cmc_sdk.errors import BundleError
from cmc_sdk.export.graphs import export_module
from cmc_sdk.export.onnx_file import inspect_graph, tidy_graph
from cmc_sdk.runtime.backends.openvino import import_openvino


def make_model(
    op: str = "Identity", *, opset: int = 18, domain: str = "", dtype: int = TensorProto.FLOAT, extra: int = 0
) -> onnx.ModelProto:
    shape = ["N", 4, 8]
    ports = [helper.make_tensor_value_info(name, dtype, shape) for name in ("window", "unused")]
    names = [f"scale_{index}" for index in range(extra)]
    weights = [numpy_helper.from_array(np.ones(4, np.float32), name) for name in names]
    nodes = [helper.make_node(op, ["window", *names], ["logits"], domain=domain)]
    graph = helper.make_graph(nodes, "graph", ports, [helper.make_tensor_value_info("logits", dtype, shape)], weights)
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def test_a_good_graph_passes_and_an_unused_input_is_dropped() -> None:
    content = tidy_graph(make_model(), name="graph.onnx", expected={})
    inputs, outputs = inspect_graph(content, name="graph.onnx")
    assert inputs == {"window": (None, 4, 8)}
    assert outputs == {"logits": (None, 4, 8)}


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (make_model("BatchNormalization", extra=4), "BatchNormalization has no place in inference"),
        (make_model(opset=23), "opset 23 is outside 18 to 20"),
        (make_model(opset=17), "opset 17 is outside 18 to 20"),
        (make_model("Attention", domain="com.microsoft"), r"com\.microsoft\.Attention is not standard ONNX"),
        (make_model(dtype=TensorProto.DOUBLE), "window is not float32"),
        (make_model("NoSuchOp"), "fails ONNX's checker"),
    ],
)
def test_a_broken_rule_is_named(model: onnx.ModelProto, rule: str) -> None:
    with pytest.raises(BundleError, match=rule):
        inspect_graph(model.SerializeToString(), name="graph.onnx")


def test_weights_in_another_file_are_refused() -> None:
    model = make_model("Add", extra=1)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.data")
    with pytest.raises(BundleError, match="its weights lie in another file"):
        inspect_graph(model.SerializeToString(), name="graph.onnx")


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(BundleError, match=r"graph\.onnx is not an ONNX file"):
        inspect_graph(b"not a graph", name="graph.onnx")


def test_a_decomposed_normalisation_is_refused() -> None:
    with pytest.raises(BundleError, match="0 LayerNormalization ops were written where the network has 1"):
        tidy_graph(make_model(), name="graph.onnx", expected={"LayerNormalization": 1})


def test_a_batch_normalisation_is_refused() -> None:
    inputs = {"window": torch.zeros(1, 2, 4, 4, 4)}
    with pytest.raises(BundleError, match="batch statistics"):
        export_module(nn.BatchNorm3d(2).eval(), inputs=inputs, outputs=("logits",), name="graph.onnx")


class Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.instance = nn.InstanceNorm3d(4, affine=True)
        self.plain = nn.InstanceNorm3d(4)
        self.group = nn.GroupNorm(2, 4)
        self.layer = nn.LayerNorm(4, eps=1e-6)

    def forward(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        normed = self.layer(self.group(self.plain(self.instance(window))).movedim(1, -1)).movedim(-1, 1)
        scaled = 300.0 * window
        return normed, torch.logaddexp(scaled, -scaled)


def test_layer_norms_are_single_ops_and_logaddexp_is_finite_for_large_logits() -> None:
    module, window = Norms().eval(), torch.randn(3, 4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = module(window)
    content = export_module(module, inputs={"window": window[:1]}, outputs=("normed", "sums"), name="graph.onnx")
    model = onnx.load_model_from_string(content)
    counts = Counter(node.op_type for node in model.graph.node)
    assert (counts["InstanceNormalization"], counts["LayerNormalization"]) == (1, 1)  # the former is the GroupNorm
    assert counts["Reciprocal"] == 2
    assert str(sys.prefix).encode() not in content
    assert b"stack_trace" not in content
    assert float(expected[1].max()) > 200  # log(exp(a) + exp(b)) would be infinite here
    given = onnxruntime.InferenceSession(content).run(None, {"window": window.numpy()})
    core = import_openvino().Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    other = compiled({"window": window.numpy()})
    for index, wanted in enumerate(expected):
        np.testing.assert_allclose(given[index], wanted.numpy(), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(other[index], wanted.numpy(), rtol=1e-5, atol=1e-4)
