"""Planted faults that need no volume to be found: each is refused by its name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cmc_sdk.bundle import open_bundle
from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import Island
from cmc_sdk.errors import BundleError
from cmc_sdk.export.precision.islands import find_candidates
from cmc_sdk.export.precision.mixed import to_mixed
from cmc_sdk.export.precision.static_checks import check_graph
from cmc_sdk.export.precision.view import GraphView
from tests.export.exported import Exported

Change = Callable[[onnx.ModelProto], None]


def f32_graph(exported: Exported) -> tuple[Graph, bytes]:
    opened = open_bundle(exported.bundle)
    (graph,) = [item for item in opened.manifest.graphs if (item.part, item.modality) == ("decoder", "ct")]
    return graph, opened.read(graph.path)


def fp16_graph(exported: Exported) -> tuple[Graph, onnx.ModelProto]:
    graph, content = f32_graph(exported)
    model = onnx.load_model_from_string(content)
    islands = tuple(
        Island(kind=item.kind, nodes=item.nodes, reason="planted", difference=None)
        for item in find_candidates(GraphView(model, name=graph.path))
        if item.kind != "logits"
    )
    mixed = to_mixed(model, islands={node for item in islands for node in item.nodes}, name=graph.path)
    path = "graphs/fp16/decoder_ct.onnx"
    return graph.model_copy(update={"precision": "fp16", "path": path, "islands": islands}), mixed.model


def test_written_graphs_pass(exported: Exported) -> None:
    graph, content = f32_graph(exported)
    check_graph(content, graph=graph)
    half, model = fp16_graph(exported)
    check_graph(model.SerializeToString(), graph=half)


def test_fp32_under_the_name_fp16(exported: Exported) -> None:
    half, _ = fp16_graph(exported)
    _, content = f32_graph(exported)
    with pytest.raises(BundleError, match=r"graphs/fp16/decoder_ct\.onnx: \w+ \S+ is FP32 under the name fp16"):
        check_graph(content, graph=half)
    # One node alone, though all its neighbours are FP16.
    _, model = fp16_graph(exported)
    node = next(item for item in model.graph.node if item.op_type == "Relu")
    value = node.output[0]
    index = list(model.graph.node).index(node)
    model.graph.node.insert(index, helper.make_node("Cast", [node.input[0]], ["up"], name="up", to=TensorProto.FLOAT))
    node.input[0], node.output[0] = "up", "wide"
    model.graph.node.insert(index + 2, helper.make_node("Cast", ["wide"], [value], name="down", to=TensorProto.FLOAT16))
    with pytest.raises(BundleError, match=f"Relu {node.name} is FP32 under the name fp16"):
        check_graph(model.SerializeToString(), graph=half)


def test_fp16_under_the_name_f32(exported: Exported) -> None:
    graph, _ = f32_graph(exported)
    _, model = fp16_graph(exported)
    with pytest.raises(BundleError, match="is FP16 under the name f32"):
        check_graph(model.SerializeToString(), graph=graph)


def plant(op_type: str, **attributes: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        channels = 3
        names = []
        for word in ("scale", "bias", "mean", "var"):
            model.graph.initializer.append(numpy_helper.from_array(np.ones(channels, np.float16), f"planted_{word}"))
            names.append(f"planted_{word}")
        last = model.graph.node[-1]
        inputs = [last.input[0], *names] if op_type == "BatchNormalization" else [last.input[0]]
        node = helper.make_node(op_type, inputs, ["planted"], name=f"planted/{op_type}", **attributes)
        model.graph.node.insert(len(model.graph.node) - 1, node)
        last.input[0] = "planted"

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (plant("BatchNormalization"), "BatchNormalization planted/BatchNormalization makes a label depend"),
        (plant("BatchNormalization", training_mode=1), "BatchNormalization"),
        (plant("Attention"), "Attention planted/Attention is an op that engines refuse"),
    ],
)
def test_ops_that_have_no_place(exported: Exported, change: Change, words: str) -> None:
    half, model = fp16_graph(exported)
    change(model)
    with pytest.raises(BundleError, match=words):
        check_graph(model.SerializeToString(), graph=half)


def test_training_mode(exported: Exported) -> None:
    half, model = fp16_graph(exported)
    for name, array in (("ratio", np.array(0.5, np.float32)), ("training", np.array(True))):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    last = model.graph.node[-1]
    node = helper.make_node("Dropout", [last.input[0], "ratio", "training"], ["dropped"], name="planted/dropout")
    model.graph.node.insert(len(model.graph.node) - 1, node)
    last.input[0] = "dropped"
    with pytest.raises(BundleError, match="Dropout planted/dropout is in training mode"):
        check_graph(model.SerializeToString(), graph=half)


def test_a_declared_island_that_is_missing_or_fp16(exported: Exported) -> None:
    half, model = fp16_graph(exported)
    content = model.SerializeToString()
    ghost = Island(kind="padded_logsumexp", nodes=("blocks.0.attn/log",), reason="planted", difference=0.5)
    missing = half.model_copy(update={"islands": (*half.islands, ghost)})
    with pytest.raises(
        BundleError, match=r"island padded_logsumexp is declared, and its node blocks\.0\.attn/log is miss"
    ):
        check_graph(content, graph=missing)
    # The same with a node that is there, and computes in FP16.
    relu = next(item.name for item in model.graph.node if item.op_type == "Relu")
    other = Island(kind="logits", nodes=(relu,), reason="planted", difference=0.5)
    with pytest.raises(BundleError, match=f"Relu {relu} of the FP32 island logits is FP16"):
        check_graph(content, graph=half.model_copy(update={"islands": (*half.islands, other)}))


@pytest.mark.parametrize("opset", [17, 21])
def test_another_opset(exported: Exported, opset: int) -> None:
    half, model = fp16_graph(exported)
    model.opset_import[0].version = opset
    with pytest.raises(BundleError, match=f"opset {opset} is outside 18 to 20"):
        check_graph(model.SerializeToString(), graph=half)


def test_a_batch_that_is_fixed(exported: Exported) -> None:
    half, model = fp16_graph(exported)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(BundleError, match="the batch of input features_ct is not dynamic"):
        check_graph(model.SerializeToString(), graph=half)


def test_a_batch_that_is_dynamic_by_name_only(exported: Exported) -> None:
    half, model = fp16_graph(exported)
    window = numpy_helper.from_array(np.array([1, 3, 16, 16, 16], np.int64), "one_window")
    model.graph.initializer.append(window)
    last = model.graph.node[-1]
    assert list(last.output) == ["logits"]
    last.output[0] = "all_logits"
    model.graph.node.append(
        helper.make_node("Reshape", ["all_logits", "one_window"], ["logits"], name="planted/reshape")
    )
    with pytest.raises(BundleError, match=r"for a batch of 2|dynamic by name only"):
        check_graph(model.SerializeToString(), graph=half)


def test_weights_in_another_file(exported: Exported) -> None:
    half, model = fp16_graph(exported)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    with pytest.raises(BundleError, match="weights"):
        check_graph(model.SerializeToString(), graph=half)


@pytest.mark.parametrize("cut", [0, 1, 3, 100, -1])
def test_a_file_that_is_cut_is_refused(exported: Exported, cut: int) -> None:
    half, model = fp16_graph(exported)
    with pytest.raises(BundleError):
        check_graph(model.SerializeToString()[:cut], graph=half)
